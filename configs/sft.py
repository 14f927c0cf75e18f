"""Supervised fine-tuning of a run's model on conversations: docs/training/tuning.md.

    maxlm train --config=configs/sft.py --workdir=SFT --from=RUN --fresh --config.data.dataset=DATA

`config.model` is RUN's.
"""

from maxlm.train.config import base


def get_config():
    config = base()
    config.data.num_blocks = 3  # of configs/data/sft.py
    config.train.batch = 16  # rows
    config.optimizer.learning_rate = 1e-5  # of full fine-tuning; adapters (lora_rank) take 1e-4 to 2e-4
    config.optimizer.weight_decay = 0.0
    config.schedule.name = "cosine"
    config.schedule.warmup_share = 0.03
    return config
