"""Data for small proxies: three domains, a small vocabulary, blocks of 65,536 tokens.

    maxlm-data ingest --config=configs/data/proxies.py:FOLDER --dataset=DATA

and then clean, tokenizer and produce; FOLDER holds a folder for each domain. tools/proxies.py does all of it.
"""

from ml_collections import ConfigDict

from data_pipeline.config import DataConfig
from maxlm.config import config_dict

DOMAINS = ("en", "code", "zh")


def get_config(folder: str) -> ConfigDict:
    config = config_dict(DataConfig())
    config.sources = [{"path": f"{folder}/{domain}", "name": domain, "domain": domain} for domain in DOMAINS]
    config.tokenizer.kind = "bytelevel"  # the characters of Chinese alone would be more than the vocabulary
    config.tokenizer.vocab_size = 1024
    config.tokenizer.sample_bytes = 8_000_000
    config.produce.seq_len = 256
    config.produce.block_tokens = 65_536
    config.produce.num_blocks = 24
    config.produce.ahead = 24  # all of them: many runs will read them later
    config.produce.holdout = 0.02
    config.produce.holdout_tokens = 131_072
    return config
