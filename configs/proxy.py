"""A small proxy, 0.5M parameters: what the runs of configs/sweeps share. Alone:

    maxlm train --config=configs/proxy.py --workdir=RUN --config.data.dataset=DATA

DATA has a small vocabulary (configs/data/proxies.py). A block of 65,536 tokens takes about 10 s of one core.
"""

from maxlm.train.config import base


def get_config():
    config = base()
    config.model.embed, config.model.num_layers, config.model.mlp = 96, 4, 256
    config.model.num_heads, config.model.num_kv_heads, config.model.head_dim = 6, 6, 16
    config.model.qk_norm = True
    config.model.init_std = 0.1  # about 1 / sqrt(width): of 0.02, usual where models are wide, small ones learn late
    config.model.mup_base_embed = 48  # one learning rate for all sizes, found at this width
    config.train.batch = 2  # rows: with few tokens it is steps that are short
    config.train.log_every = 32
    config.train.eval_rows = 0  # all of them, and only at the end
    config.train.eval_every_blocks = 1000
    config.optimizer.learning_rate = 0.004
    config.optimizer.b2 = 0.99  # a small batch's gradient is noise for the most part
    config.schedule.warmup_share = 0.1
    return config
