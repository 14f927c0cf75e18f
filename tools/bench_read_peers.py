"""Other readers over the same rows, for tools/bench_read.py; runs under a Python that has torch and datasets.

    PYTHON tools/bench_read_peers.py FOLDER BATCH ROUNDS

FOLDER holds the rows as arrays: tokens.npy, uint16 [rows, seq_len + 1], starts.npy, learn.npy and domains.npy, uint8.
For each reader and round a line of JSON: its name, seconds, CPU seconds (workers included), rows. All read in shuffled
order, and give whole batches either of all that maxlm holds ("all columns"), made by its own to_batch, or of inputs
and targets alone, int64 as PyTorch's losses want them ("tokens only").
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator

os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"

import datasets  # pyright: ignore[reportMissingImports]
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]

from maxlm.blocks.format import Rows, to_batch

COLUMNS = ("tokens", "starts", "learn", "domains")
Read = Callable[[], Iterator]


class MappedRows(Dataset):
    """Rows of memory-mapped arrays, one at a time, as DataLoader's default collation takes them."""

    def __init__(self, folder: str, tokens_only: bool):
        self.tokens_only = tokens_only
        self.columns = [np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in COLUMNS]

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, i: int) -> tuple:
        if self.tokens_only:
            row = torch.from_numpy(self.columns[0][i].astype(np.int64))
            return row[:-1], row[1:]
        tokens, starts, learn, domains = (column[i : i + 1] for column in self.columns)
        batch = to_batch(Rows(tokens, starts.view(bool), learn.view(bool), domains))
        return tuple(torch.from_numpy(column[0]) for column in batch)


def by_loader(folder: str, batch: int, workers: int, tokens_only: bool) -> Read:
    loader = DataLoader(
        MappedRows(folder, tokens_only), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: iter(loader)


def as_arrow(folder: str) -> datasets.Dataset:
    """The rows as a datasets.Dataset on the disk, memory-mapped when it is loaded: lists of fixed length."""
    columns = {name: np.load(f"{folder}/{name}.npy") for name in COLUMNS}
    features = {
        name: datasets.Sequence(datasets.Value(str(column.dtype)), length=column.shape[1])
        for name, column in columns.items()
    }
    datasets.Dataset.from_dict(columns, features=datasets.Features(features)).save_to_disk(f"{folder}/arrow")
    return datasets.load_from_disk(f"{folder}/arrow")


def by_datasets(rows: datasets.Dataset, batch: int, tokens_only: bool) -> Read:
    """Whole batches by lists of places, in the order of a permutation: quicker than Dataset.shuffle's own indices."""
    rows = rows.with_format("numpy", columns=list(COLUMNS[:1] if tokens_only else COLUMNS))

    def read() -> Iterator:
        order = np.random.default_rng(0).permutation(len(rows))
        for start in range(0, len(order), batch):
            found = rows[order[start : start + batch]]
            if tokens_only:
                tokens = torch.from_numpy(found["tokens"].astype(np.int64))
                yield tokens[:, :-1], tokens[:, 1:]
            else:
                starts, learn = found["starts"].astype(bool), found["learn"].astype(bool)  # they come as int64
                yield to_batch(Rows(found["tokens"], starts, learn, found["domains"]))

    return read


def as_documented(rows: datasets.Dataset, batch: int) -> Read:
    """As datasets' own page on PyTorch has it: the data set in a DataLoader."""
    loader = DataLoader(rows.with_format("torch", columns=["tokens"]), batch, shuffle=True)
    return lambda: iter(loader)


def cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    folder, batch, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    rows = as_arrow(folder)
    readers: dict[str, Callable[[], Read]] = {
        "datasets, batched indexing, tokens only": lambda: by_datasets(rows, batch, True),
        "datasets, batched indexing, all columns": lambda: by_datasets(rows, batch, False),
        "datasets in a DataLoader, tokens only": lambda: as_documented(rows, batch),
        "DataLoader, 0 workers, tokens only": lambda: by_loader(folder, batch, 0, True),
        "DataLoader, 0 workers, all columns": lambda: by_loader(folder, batch, 0, False),
        "DataLoader, 2 workers, all columns": lambda: by_loader(folder, batch, 2, False),
    }
    for _ in range(rounds):
        for name, make in readers.items():
            start, cpu = time.perf_counter(), cpu_seconds()
            read = make()
            for _ in read():
                pass
            seconds = time.perf_counter() - start
            del read  # workers end, and their CPU time counts
            print(
                json.dumps({"name": name, "seconds": seconds, "cpu": cpu_seconds() - cpu, "rows": len(rows)}),
                flush=True,
            )


if __name__ == "__main__":
    main()
