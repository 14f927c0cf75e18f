"""The model of `make quickstart`: 2.5M parameters, in minutes on two cores.

maxlm train --config=configs/quickstart.py --workdir=RUN --config.data.dataset=DIR
"""

from maxlm.train.config import base


def get_config():
    config = base()
    config.model.embed = 192
    config.model.num_layers = 4
    config.model.num_heads = 3
    config.model.num_kv_heads = 1
    config.model.head_dim = 64
    config.model.mlp = 512
    config.data.num_blocks = 6  # of about 200,000 tokens: configs/data/quickstart.py
    config.train.batch = 8  # rows of 256 tokens
    config.optimizer.learning_rate = 2e-3
    config.schedule.decay_share = 0.3
    config.train.eval_rows = 0  # the whole validation block, about 190 rows
    return config
