"""Reading blocks: from array_record to ready batches, beside Hugging Face datasets and PyTorch's DataLoader.

    python tools/bench_read.py [--rows=16384] [--seq-len=2048] [--batch=64] [--rounds=5] [--peers-python=PYTHON]

PYTHON is an interpreter that has torch and datasets; tools/bench_read_peers.py says how they are set up. All read the
same made-up rows, in shuffled order, from files that the system has in memory. Of several rounds the least counts.
As the trainer does, maxlm has glibc keep freed memory; the peers are run as they come, and told the same ("kept").
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from maxlm.blocks.format import Batch, RowFormat, Rows, to_batch
from maxlm.blocks.manifest import DatasetInfo, TokenAccount, save
from maxlm.blocks.reader import BlockStore
from maxlm.blocks.writer import new_block, plan_shards, write_shard
from maxlm.train.hardware import keep_freed_memory
from maxlm.train.loader import BlockFeed, open_block

# maxlm.train.hardware.keep_freed_memory in the words of the environment.
KEEP = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=67108864:glibc.malloc.trim_threshold=1073741824"
VOCAB, DIGEST = 32_768, "0" * 64


def make_rows(rows: int, row_tokens: int) -> Rows:
    rng = np.random.default_rng(0)
    shape = (rows, row_tokens)
    starts = rng.random(shape) < 0.002
    starts[:, 0] = True
    tokens = rng.integers(0, VOCAB, shape, dtype=np.uint16)
    return Rows(tokens, starts, np.ones(shape, bool), rng.integers(0, 3, shape, dtype=np.uint8))


def write_dataset(folder: str, rows: Rows, row_format: RowFormat) -> BlockStore:
    count, tokens, account = len(rows.tokens), rows.tokens.size, TokenAccount(rows.tokens.size, rows.tokens.size, 0, 0)
    info = DatasetInfo(DIGEST, VOCAB, row_format.seq_len, ({str(row_format.seq_len): count},), ("a", "b", "c"))
    save(f"{folder}/dataset.json", info)
    with new_block(f"{folder}/blocks/block-00000") as publish:
        (plan,) = plan_shards([(row_format.seq_len, count)], tokens)[0]
        shard = write_shard(f"{folder}/blocks/block-00000", plan, row_format, [rows])
        publish(
            block=0, seq_len=row_format.seq_len, rows=count, shards=(shard,), account=account,
            domain_tokens={"a": tokens}, source_tokens={"a": tokens}, documents=1, seed=0, tokenizer_digest=DIGEST,
            selection=(0, 1),
        )  # fmt: skip
    return BlockStore(folder)


def measured(name: str, rows: int, work: Callable[[], object]) -> dict[str, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"name": name, "seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "rows": rows}


def ours(store: BlockStore, batch: int, rounds: int) -> Iterator[dict[str, object]]:
    batches = open_block(store, store.manifest(0), batch=batch, seed=0)
    feed = BlockFeed(store, batch=batch, seed=0, verify=False, wait_s=0.0)
    source, row_format = store.source(0), store.info.row_format
    places = np.random.default_rng(1).permutation(len(source)).reshape(-1, batch).tolist()
    records = [source.__getitems__(part) for part in places[:8]]
    decoded = [row_format.decode(part) for part in records]
    some = 8 * batch
    for _ in range(rounds):
        yield measured("maxlm, one thread", len(source), lambda: [len(batches[i].inputs) for i in range(len(batches))])
        yield measured("maxlm, as the trainer reads", len(source), lambda: drained(feed.batches(batches, 0)))
        yield measured("  of it: array_record", len(source), lambda: [source.__getitems__(part) for part in places])
        yield measured("  of it: decode", some, lambda: [row_format.decode(part) for part in records])
        yield measured("  of it: make it a batch", some, lambda: [to_batch(part) for part in decoded])
    feed.close()


def drained(batches: Iterator[Batch]) -> None:
    for _ in batches:
        pass


def peers(python: str, folder: str, batch: int, rounds: int, keep: bool) -> Iterator[dict[str, object]]:
    command = [python, str(Path(__file__).with_name("bench_read_peers.py")), folder, str(batch), str(rounds)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    if keep:
        environment["GLIBC_TUNABLES"] = KEEP
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        found = json.loads(line)
        yield found | {"name": found["name"] + (", kept" if keep else "")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--seq-len", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers-python")
    args = parser.parse_args()
    keep_freed_memory()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        rows = make_rows(args.rows, args.seq_len + 1)
        store = write_dataset(folder, rows, RowFormat(args.seq_len, VOCAB))
        for name, column in zip(Rows._fields, rows, strict=True):
            np.save(f"{folder}/{name}.npy", column.view(np.uint8) if column.dtype == bool else column)
        for _ in range(2):  # ours and theirs in turns
            found += ours(store, args.batch, args.rounds)
            if args.peers_python:
                for keep in (False, True):
                    found += peers(args.peers_python, folder, args.batch, args.rounds, keep)
    print(f"rows of {args.seq_len} tokens, {args.batch} a batch; the least of {2 * args.rounds} rounds")
    print(f"{'':42s} {'µs a row':>9s} {'M tokens/s':>11s} {'CPU µs':>7s} {'M tokens/CPU s':>15s}")
    for name in dict.fromkeys(each["name"] for each in found):
        wall = min(each["seconds"] / each["rows"] for each in found if each["name"] == name) * 1e6
        cpu = min(each["cpu"] / each["rows"] for each in found if each["name"] == name) * 1e6
        print(f"{name:42s} {wall:9.1f} {args.seq_len / wall:11.0f} {cpu:7.1f} {args.seq_len / cpu:15.0f}")


if __name__ == "__main__":
    main()
