"""Small blocks for docs/tutorial.md: rows of 256 tokens, 200,000 tokens a block, a vocabulary of 4,096.

    maxlm-data ingest --config=configs/data/tutorial.py:CORPORA --dataset=DATA

The folder is that of configs/data/zh_en_code.py. Each step of the tutorial says its own mixture.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(folder: str = "corpora") -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).parent / "zh_en_code.py"))["get_config"](folder)
    config.mixture.weights = {}
    config.tokenizer.vocab_size = 4096
    config.tokenizer.spare_tokens = 0
    config.tokenizer.sample_bytes = 8_000_000
    config.produce.seq_len = 256
    config.produce.block_tokens = 200_000
    config.produce.holdout_tokens = 60_000
    return config
