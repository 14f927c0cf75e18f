"""Pairs of answers for preference tuning (hh-rlhf's transcripts, or prompt, chosen and rejected), in FOLDER.

    maxlm-data ingest --config=configs/data/preferences.py:FOLDER --dataset=PAIRS

and so on as configs/data/sft.py says. A pair stands in one row, so rows are as long as the longest pair that matters.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(folder: str = "preferences") -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).parent / "sft.py"))["get_config"](folder)
    config.sources = [{"path": folder, "domain": "preferences"}]
    config.produce.num_blocks = 1
    return config
