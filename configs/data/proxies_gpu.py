"""Data for proxies of 3M to 100M parameters: three domains, blocks of 4M tokens, 2B tokens in all.

FOLDER holds a folder for each domain, 8 GB of text or so. `python tools/proxies.py --configs=proxies_gpu` makes it.
"""

from ml_collections import ConfigDict

from data_pipeline.config import DataConfig
from maxlm.config import config_dict

DOMAINS = ("en", "code", "zh")


def get_config(folder: str) -> ConfigDict:
    config = config_dict(DataConfig())
    config.sources = [{"path": f"{folder}/{domain}", "name": domain, "domain": domain} for domain in DOMAINS]
    config.tokenizer.kind = "bytelevel"
    config.tokenizer.vocab_size = 16_384
    config.produce.seq_len = 1024
    config.produce.block_tokens = 1 << 22
    config.produce.num_blocks = 480
    config.produce.ahead = 480  # all of them: many runs will read them later
    config.produce.holdout = 0.002
    config.produce.holdout_tokens = 1 << 20
    return config
