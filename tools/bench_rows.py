"""What it costs to turn a row of a block into training input, in microseconds a row; the minimum of several rounds.

python tools/bench_rows.py [--seq-len=2048] [--batch=64]
"""

import argparse
import tempfile
import time
from collections.abc import Callable

import numpy as np

from maxlm.blocks.format import RowFormat, Rows, to_batch
from maxlm.blocks.manifest import DatasetInfo, TokenAccount, save
from maxlm.blocks.reader import BlockStore
from maxlm.blocks.writer import write_block

VOCAB, ROWS = 32_768, 1024


def best_us(work: Callable[[], object], rows: int, rounds: int = 30) -> float:
    """Microseconds a row of the quickest round."""
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best / rows * 1e6


def write_dataset(folder: str, row_format: RowFormat) -> BlockStore:
    rng = np.random.default_rng(0)
    shape = (ROWS, row_format.row_tokens)
    starts = rng.random(shape) < 0.002
    starts[:, 0] = True
    rows = Rows(rng.integers(0, VOCAB, shape), starts, np.ones(shape, bool), rng.integers(0, 3, shape).astype(np.uint8))
    save(f"{folder}/dataset.json", DatasetInfo("0" * 64, VOCAB, row_format.seq_len, ROWS, ("a", "b", "c")))
    tokens = rows.tokens.size
    write_block(
        f"{folder}/blocks/block-00000", row_format, [rows], rows=ROWS, shard_rows=ROWS, block=0,
        account=TokenAccount(tokens, tokens, 0, 0), domain_tokens={"a": tokens}, source_tokens={"a": tokens},
        documents=1, seed=0, tokenizer_digest="0" * 64, selection=(0, 1),
    )  # fmt: skip
    return BlockStore(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row_format = RowFormat(args.seq_len, VOCAB)
        source = write_dataset(folder, row_format).source(0)
        places = np.random.default_rng(1).permutation(ROWS)[: args.batch].tolist()
        records = source.__getitems__(places)
        rows = row_format.decode(records)
        figures = {
            "decode a record": best_us(lambda: row_format.decode(records), args.batch),
            "make it a batch": best_us(lambda: to_batch(rows), args.batch),
            "read it from array_record": best_us(lambda: source.__getitems__(places), args.batch),
        }
    print(f"rows of {args.seq_len} tokens, {args.batch} at a time")
    for name, microseconds in figures.items():
        print(f"  {name:28s} {microseconds:6.1f} µs a row")
    total = sum(figures.values())
    print(f"  {'all three':28s} {total:6.1f} µs a row = {args.seq_len / total:.0f} million tokens/s on one core")


if __name__ == "__main__":
    main()
