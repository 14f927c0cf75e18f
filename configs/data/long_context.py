"""The blocks of configs/long_context_1b.py: rows of 4,096, on the last tenth of the tokens also rows of 32,768.

maxlm-data produce --config=configs/data/long_context.py:/data/corpora --dataset=/data/long
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

BLOCK = 1_000_000_000


def get_config(folder: str = "corpora") -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).parent / "zh_en_code.py"))["get_config"](folder)
    long = {"32768": 0.5, "4096": 0.5}
    config.produce.seq_len = 32_768
    config.produce.block_tokens = BLOCK
    config.produce.row_multiple = 32
    config.produce.num_blocks = 100
    config.stages = [
        {"name": "stable", "tokens": 88 * BLOCK, "row_lengths": {"4096": 1.0}},
        {"name": "long", "tokens": 10 * BLOCK, "row_lengths": long},
        {"name": "anneal", "tokens": 2 * BLOCK, "row_lengths": long},
    ]
    return config
