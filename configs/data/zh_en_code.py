"""Chinese, English and code from a folder of corpora, 4:4:2 by tokens.

    maxlm-data ingest --config=configs/data/zh_en_code.py:/data/corpora --dataset=/data/zh_en_code

The folder holds train/zh, train/en, train/code and train/math; any files below them that `maxlm-data ingest` reads.
About 100 MB pass through ingest, clean and dedup in a few minutes on two cores.
"""

from pathlib import Path

from ml_collections import ConfigDict

from data_pipeline import recipe
from data_pipeline.config import DataConfig
from maxlm.config import config_dict

RECIPES = Path(__file__).parent / "recipes"


def get_config(folder: str = "corpora") -> ConfigDict:
    config = config_dict(DataConfig())
    train = Path(folder) / "train"
    # A file belongs to the first source that names it: rows with their own text_key go before the folder they lie in.
    config.sources = [
        {"path": f"{train}/zh/poetry/**/*.json", "name": "poetry", "text_key": "paragraphs"},
        {"path": f"{train}/zh/fewclue/**/*.json", "name": "fewclue", "text_key": "sentence"},
        {"path": f"{train}/zh/**/*.csv", "name": "dialogue", "text_key": "title,ask,answer"},  # GB18030, told by itself
        {"path": f"{train}/math/**/*.jsonl", "name": "math", "text_key": "question,answer"},
        {"path": f"{train}/zh", "name": "zh"},
        {"path": f"{train}/en", "name": "en"},
        {"path": f"{train}/code", "name": "code"},
        {"path": f"{train}/math", "name": "math"},  # English prose with formulas: counts as English in the mixture
    ]
    config.recipe = [
        *recipe.read(RECIPES / "prose_en.yaml"),
        *recipe.read(RECIPES / "prose_zh.yaml"),
        *recipe.read(RECIPES / "code.yaml"),
    ]
    config.mixture.weights = {"zh": 4, "en": 4, "code": 2}  # of tokens
    config.partitions = 16
    config.tokenizer.vocab_size = 32_768
    config.produce.seq_len = 2048
    return config
