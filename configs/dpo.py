"""Preference tuning (DPO) of a tuned run's model on pairs of answers: docs/training/tuning.md.

    maxlm train --config=configs/dpo.py --workdir=DPO --from=SFT --fresh --config.data.dataset=PAIRS

The model that SFT ended with is where this run begins, and the reference that it is held to. `config.model` is SFT's.
"""

from maxlm.train.config import base


def get_config():
    config = base()
    config.data.num_blocks = 1  # of configs/data/preferences.py
    config.train.loss = "dpo"
    config.train.beta = 0.1
    config.train.batch = 16  # rows, of one pair or several each
    config.optimizer.learning_rate = 5e-7
    config.optimizer.weight_decay = 0.0
    config.schedule.name = "linear"
    config.schedule.warmup_share = 0.1
    return config
