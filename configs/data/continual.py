"""New text with a share of what the model was pretrained on: Chinese with a quarter of English.

    maxlm-data ingest --config=configs/data/continual.py:/data/corpora --dataset=/data/new
    cp -r RUN/tokenizer /data/new/tokenizer
    maxlm-data produce --config=configs/data/continual.py:/data/corpora --dataset=/data/new

between them clean and dedup, as for any data set. The tokenizer is that of the run that goes on, or extends it.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(folder: str = "corpora") -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).parent / "zh_en_code.py"))["get_config"](folder)
    config.mixture.weights = {}
    config.mixture.shares = {"zh": 0.75, "en": 0.25}  # of tokens; en is replay
    config.produce.seq_len = 4096
    return config
