"""A planted loss spike: a block of shuffled tokens, which a run leaves out by itself, beside a run that never met it.

    python -m tests.faults.spike

The text is the source code of Python's standard library, in order of the files' names; both runs train on the same
number of blocks, by the same command, and nobody looks on.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from data_pipeline.produce import producer
from maxlm.blocks.format import Rows
from maxlm.blocks.manifest import load_manifest
from maxlm.blocks.reader import BlockStore
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train as train_tokenizer
from maxlm.train.history import journal_of, trained_blocks
from tests.data_pipeline.produce import made
from tests.runs import maxlm
from tests.synthetic import write_block

BLOCKS, PLANTED, SEQ_LEN, ROWS, BATCH = 16, 9, 128, 128, 4
WATCH = ("policy=rollback", "window=64", "threshold=5", "in_a_row=2")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder / "clean")
        shutil.copytree(folder / "clean", folder / "planted")
        plant(folder / "planted", PLANTED)
        losses = {name: train(folder, name) for name in ("clean", "planted")}
        blocks = {name: trained_blocks(journal_of(folder / f"{name}-run")) for name in losses}
    for name, loss in losses.items():
        sys.stdout.write(f"{name}: validation loss {loss:.4f}, trained on blocks {blocks[name]}\n")
    difference = losses["planted"] / losses["clean"] - 1
    sys.stdout.write(f"difference {difference:+.2%}\n")
    return 0 if abs(difference) < 0.01 and PLANTED not in blocks["planted"] else 1


def prepare(dataset: Path) -> None:
    """A data set of `BLOCKS` + 1 blocks, one of them to spare."""
    sources = sorted(Path(os.__file__).parent.glob("*.py"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sources]
    pieces = [text[i : i + 4000] for text in texts for i in range(0, len(text), 4000)]
    made.write_documents(dataset, [("code", piece) for piece in pieces])
    train_tokenizer(iter(texts), dataset / "tokenizer", TokenizerSettings(vocab_size=1024, spare_tokens=8))
    config = made.config(
        {"code": 1.0}, seq_len=SEQ_LEN, block_tokens=ROWS * (SEQ_LEN + 1), row_multiple=BATCH, num_blocks=BLOCKS + 1,
        ahead=BLOCKS + 1, holdout_tokens=20_000,
    )  # fmt: skip
    producer.run(config, dataset)


def plant(dataset: Path, block: int) -> None:
    """Shuffles a block's tokens, each to any place; the manifest fits what it finds."""
    store = BlockStore(dataset)
    source, manifest = store.source(block), load_manifest(store.folder(block) / "manifest.json")
    rows = store.info.row_format.decode(source.__getitems__(list(range(len(source)))))
    tokens = np.random.default_rng(0).permutation(rows.tokens.ravel()).reshape(rows.tokens.shape)
    kept = ("account", "domain_tokens", "source_tokens", "documents", "seed", "tokenizer_digest", "selection", "stage")
    fields = {name: getattr(manifest, name) for name in kept}
    shutil.rmtree(store.folder(block))
    shuffled = Rows(tokens, rows.starts, rows.learn, rows.domains)
    write_block(store.folder(block), store.info.row_format, [shuffled], shard_rows=ROWS, block=block, **fields)


def train(folder: Path, name: str) -> float:
    """Validation loss at the end."""
    done = maxlm(
        "train", "--config=configs/base.py", f"--workdir={folder}/{name}-run", f"--config.data.dataset={folder}/{name}",
        f"--config.data.num_blocks={BLOCKS}", "--config.data.wait_s=0", f"--config.train.batch={BATCH}",
        f"--config.train.eval_every_blocks={BLOCKS}", "--config.model.embed=64", "--config.model.num_layers=2",
        "--config.model.num_heads=4", "--config.model.num_kv_heads=4", "--config.model.head_dim=16",
        "--config.model.mlp=176", "--config.optimizer.learning_rate=0.01",
        *(f"--config.watch.loss.{setting}" for setting in WATCH),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = journal_of(folder / f"{name}-run").read()
    return next(event["validation/loss"] for event in reversed(events) if event["event"] == "evaluated")


if __name__ == "__main__":
    sys.exit(main())
