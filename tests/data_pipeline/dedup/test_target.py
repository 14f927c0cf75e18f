import random
import re

import numpy as np
import pytest

from data_pipeline import cli
from data_pipeline.config import DedupConfig
from data_pipeline.dedup import origins, target
from data_pipeline.document import TOKENIZER
from maxlm.tokenizer.load import load_tokenizer
from tests.data_pipeline.tables import write_jsonl

CONFIG = """
from data_pipeline.config import DataConfig
from maxlm.config import config_dict

def get_config(path):
    config = config_dict(DataConfig())
    config.sources = [{"path": path}]
    config.partitions = 2
    config.tokenizer.vocab_size = 384
    return config
"""


@pytest.fixture
def typed(tmp_path, capsys):
    """Runs a command on a corpus of pairs of copies, and answers what it printed."""
    rng = random.Random(0)
    texts = []
    for share in (0.02, 0.02, 0.05, 0.05, 0.08, 0.2):
        words = [f"word{rng.randrange(500)}" for _ in range(150)]
        texts += [" ".join(words), " ".join(f"new{i}" if rng.random() < share else w for i, w in enumerate(words))]
    texts += ["".join(rng.choices("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏", k=400)) for _ in range(12)]
    write_jsonl(tmp_path / "in.jsonl", *texts)
    (tmp_path / "config.py").write_text(CONFIG)

    def run(*command):
        where = [f"--config={tmp_path}/config.py:{tmp_path}/in.jsonl", f"--dataset={tmp_path}/data"]
        cli.run([*command, *where])
        return capsys.readouterr().out

    run("ingest")
    run("clean")
    return run


def test_the_command_prints_what_each_threshold_keeps_and_takes_one(typed):
    told = typed("dedup", "--target-tokens=1")
    [threshold] = re.findall(r"^1 tokens are nearest at (0\.\d+);", told, re.MULTILINE)
    assert f"--config.dedup.threshold={threshold} --config.dedup.lowest=0.5\n" in told
    assert told.count("│") == 5 * 11  # a row for each threshold of the grid
    few = int(told.split("dedup: ")[1].split()[0])
    all_of_them = typed("dedup", "--target-tokens=1000000")
    assert int(all_of_them.split("dedup: ")[1].split()[0]) > few


def test_decide_alone_needs_what_dedup_said(typed):
    told = typed("dedup")
    assert typed("decide").split(",")[0].split(": ")[1] == told.split(",")[0].split(": ")[1]


def test_tokens_are_those_of_the_tokenizer_where_there_is_one(typed, tmp_path):
    from data_pipeline.config import DataConfig

    typed("dedup")
    found = origins.find(DataConfig(), tmp_path / "data")
    assert target.token_rates(tmp_path / "data", found).tolist() == [0.25, 0.65]
    typed("tokenizer")
    rates = target.token_rates(tmp_path / "data", found)
    tokenizer = load_tokenizer(tmp_path / "data" / TOKENIZER)
    texts = [text for origin in found.origins for _, _, texts in origins.texts(origin) for text in texts if text]
    tokens = sum(len(tokenizer.encode(text)) for text in texts)
    unspaced = sum("一" <= char <= "鿿" for text in texts for char in text)
    characters = np.array([sum(map(len, texts)) - unspaced, unspaced])
    assert characters @ rates == pytest.approx(tokens, rel=0.02)


def test_the_grid_runs_from_what_the_bands_serve():
    assert target.grid(DedupConfig()) == [round(0.5 + i / 20, 2) for i in range(11)]
    assert target.grid(DedupConfig(threshold=0.87, lowest=0.82)) == [0.82, 0.85, 0.87, 0.9, 0.95, 1.0]
    assert target.grid(DedupConfig(threshold=0.3))[0] == 0.3
