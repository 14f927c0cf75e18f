"""A first corpus without a download: what Python brings along, and 120 Chinese samples. About 11 MB, under a minute.

    maxlm-data ingest --config=configs/data/quickstart.py --dataset=/tmp/data

and then, in the same way, clean, dedup, tokenizer and produce.
With a folder after a colon, --config=configs/data/quickstart.py:FOLDER, that folder's text instead.
"""

from pathlib import Path

from ml_collections import ConfigDict

from data_pipeline import recipe
from data_pipeline.config import DataConfig
from maxlm.config import config_dict

RECIPES = Path(__file__).parent / "recipes"


def get_config(folder: str = "") -> ConfigDict:
    config = config_dict(DataConfig())
    config.recipe = [
        *recipe.read(RECIPES / "prose_en.yaml"),
        *recipe.read(RECIPES / "prose_zh.yaml"),
        *recipe.read(RECIPES / "code.yaml"),
    ]
    if folder:
        config.sources = [{"path": folder}]
    else:
        config.mixture.shares = {"zh": 0.1, "en": 0.5, "code": 0.4}  # shares of tokens
    config.tokenizer.vocab_size = 4096
    config.tokenizer.sample_bytes = 8_000_000
    config.produce.seq_len = 256
    config.produce.block_tokens = 200_000
    config.produce.holdout = 0.04  # there are only 126 Chinese documents
    config.produce.holdout_tokens = 48_000
    return config
