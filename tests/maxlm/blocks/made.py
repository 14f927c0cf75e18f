"""Small blocks for tests."""

from pathlib import Path
from typing import Any

import numpy as np

from maxlm.blocks.format import RowFormat, Rows
from maxlm.blocks.manifest import DatasetInfo, Manifest, TokenAccount, save
from tests.synthetic import write_block

FORMAT = RowFormat(seq_len=15, vocab_size=256)
INFO = DatasetInfo(tokenizer_digest="ab12", vocab_size=256, seq_len=15, rows=({"15": 10},), domains=("en", "zh"))


def rows(count: int = 10, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    starts = rng.random((count, 16)) < 0.1
    starts[:, 0] = True
    shape = (count, 16)
    return Rows(rng.integers(0, 256, shape), starts, np.ones(shape, bool), np.zeros(shape, np.uint8))


def block(dataset: Path, number: int = 0, chunks: list[Rows] | None = None, **changes: Any) -> Manifest:
    """Writes a block of 10 rows in 3 shards, and dataset.json."""
    dataset.mkdir(exist_ok=True)
    save(dataset / "dataset.json", INFO)
    fields: dict[str, Any] = {
        "shard_rows": 4,
        "block": number,
        "account": TokenAccount(selected=170, written=160, truncated=10, padded=0),
        "domain_tokens": {"en": 160},
        "source_tokens": {"a": 100, "b": 60},
        "documents": 7,
        "seed": 0,
        "tokenizer_digest": "ab12",
        "selection": (0, 7),
    }
    chunks = [rows()] if chunks is None else chunks
    return write_block(dataset / "blocks" / f"block-{number:05d}", FORMAT, chunks, **(fields | changes))
