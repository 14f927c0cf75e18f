"""Continual pretraining: a trained model on new text, its learning rate warmed up and decayed once more.

    maxlm train --config=configs/continual.py --workdir=NEW --from=RUN --fresh --config.data.dataset=DATA

The model is RUN's, so no key of it stands here. RUN may be imported (maxlm import), or have the rows of an extended
tokenizer (maxlm resize). Data: configs/data/continual.py. What to choose, and why: docs/training/continual.md.
"""

from maxlm.train.config import base


def get_config():
    config = base()
    config.data.num_blocks = 20
    config.schedule.name = "cosine"
    config.schedule.warmup_share = 0.01
    config.schedule.final_share = 0.1
    config.optimizer.learning_rate = 3e-4  # the peak of RUN's own pretraining; lower forgets less and learns less
    return config
