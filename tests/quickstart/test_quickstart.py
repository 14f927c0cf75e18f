"""The first ten minutes at a reduced size: every command of `make quickstart`, on a small corpus and a tiny model."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

from maxlm.report.collect import collect_run
from tests.runs import ROOT, environment
from tests.texts import english

SMALLER_DATA = (
    "--config.tokenizer.vocab_size=1536 --config.produce.block_tokens=9000 --config.produce.seq_len=64 "
    "--config.produce.holdout_tokens=1000"
)
SMALLER_MODEL = (
    "--config.model.embed=32 --config.model.num_layers=2 --config.model.num_heads=2 --config.model.num_kv_heads=1 "
    "--config.model.head_dim=16 --config.model.mlp=64 --config.data.num_blocks=3 --config.optimizer.learning_rate=0.01"
)


def make_corpus(folder: Path) -> None:
    """The Chinese samples, a package of the standard library, and a jsonl file with a bad row and a near duplicate."""
    (folder / "zh").mkdir(parents=True)
    samples = sorted((ROOT / "data_pipeline" / "samples" / "zh").glob("*.txt"))
    for path in samples[:12]:  # few, so that a small vocabulary covers their characters
        shutil.copy(path, folder / "zh")
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library / "json", folder / "json", ignore=shutil.ignore_patterns("__pycache__"))
    rng = np.random.default_rng(0)
    texts = [english(rng, 250).replace("ka ", "of ").replace("to ", "the ") for _ in range(40)]  # rules want stop words
    texts.append(texts[7] + " The end.")  # a near duplicate
    rows = [json.dumps({"text": text}) for text in texts]
    (folder / "rows.jsonl").write_text("\n".join([*rows[:20], "{broken", *rows[20:]]))


def test_quickstart(tmp_path):
    make_corpus(tmp_path / "corpus")
    done = subprocess.run(
        [
            sys.executable, "tools/quickstart.py", f"--corpus={tmp_path / 'corpus'}", f"--out={tmp_path / 'out'}",
            f"--data-args={SMALLER_DATA}", f"--train-args={SMALLER_MODEL}",
        ],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    record = collect_run(tmp_path / "out" / "run")
    assert record.state == "finished"
    assert record.blocks_done == 3
    assert len(record.rollbacks) == 1
    kept, undone = record.blocks[-1], record.blocks[-2]
    assert (kept.block, undone.undone) == (undone.block, True)
    assert kept.validation_loss == undone.validation_loss  # the repeated block ended where it had ended before
    assert record.metrics[-1]["loss"] < record.metrics[0]["loss"] - 0.5  # 1,000 held-out tokens would say little

    page = (tmp_path / "out" / "run" / "report.html").read_text()
    assert "near_duplicate" in page
    assert "not_json" in page or "JSON" in page  # the broken row was counted
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "unigram loss" in done.stdout
    assert "$ maxlm generate" in done.stdout
