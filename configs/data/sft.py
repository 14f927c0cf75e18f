"""Conversations for fine-tuning, of whatever shape data_pipeline/ingest/chats.py knows, in FOLDER.

    maxlm-data ingest --config=configs/data/sft.py:FOLDER --dataset=DATA

and in the same way clean and dedup; then the tokenizer of the run that is tuned (cp -r RUN/tokenizer DATA/tokenizer),
and produce. No recipe and no cutting: conversations are learnt as they are. Only rows of the same words are dropped.
"""

from ml_collections import ConfigDict

from data_pipeline.config import DataConfig
from maxlm.config import config_dict


def get_config(folder: str = "conversations") -> ConfigDict:
    config = config_dict(DataConfig())
    config.sources = [{"path": folder, "domain": "chat"}]
    config.dedup.threshold = 1.0
    config.produce.seq_len = 2048
    config.produce.block_tokens = 1_000_000  # what `produce --dry-run` says of uses tells the epochs
    config.produce.row_multiple = 16
    config.produce.num_blocks = 3
    config.produce.holdout = 0.02
    config.produce.holdout_tokens = 200_000
    return config
