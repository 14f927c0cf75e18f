"""The one way in which rows of different partitions meet: a hash-partitioned exchange through Parquet.

Each input partition writes one file whose row group i holds what goes to partition i of the next step; that step reads
its row group from every file. So an exchange is the shuffle, the checkpoint and the bound on memory at once: nothing
larger than one partition is ever in memory, and a step that was killed goes on with the partitions that are missing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipeline import engine
from data_pipeline.engine import Scattered, Stage
from maxlm.paths import PathLike, as_path

_MIXER = np.uint64(0x9E3779B97F4A7C15)


def partition_of(keys: np.ndarray, partitions: int) -> np.ndarray:
    """The partition that each key (64-bit integers) goes to; the same everywhere."""
    mixed = keys.astype(np.uint64) * _MIXER
    mixed ^= mixed >> np.uint64(32)
    return (mixed * _MIXER >> np.uint64(33)).astype(np.int64) % partitions


def scatter(table: pa.Table, key: str | np.ndarray, partitions: int) -> Scattered:
    """Orders rows by the partition that `key` (a 64-bit integer column's name, or values) sends them to.

    Within a partition rows keep their order, so that what is read does not depend on who wrote when.
    """
    keys = table[key].to_numpy() if isinstance(key, str) else key
    return send(table, partition_of(keys, partitions), partitions)


def send(table: pa.Table, targets: np.ndarray, partitions: int) -> Scattered:
    """Like `scatter`, to partitions that are given by number."""
    if partitions == 1:
        return Scattered(table, (table.num_rows,))
    order = np.argsort(targets, kind="stable")
    counts = np.bincount(targets, minlength=partitions)
    return Scattered(table.take(pa.array(order)), tuple(map(int, counts)))


def exchange(
    stage: Stage,
    function: Callable[[Any], pa.Table],
    jobs: Mapping[str, Any],
    key: str,
    partitions: int,
    size_bytes: int,
) -> None:
    """Writes the rows of ``function(argument)`` for all `jobs`, each to the partition that its `key` column names.

    Like engine.make_partitions, resumable. `gather` reads a partition.
    """
    engine.make_partitions(stage, partial(_scatter_job, function, key, partitions), jobs, size_bytes)


def _scatter_job(function: Callable[[Any], pa.Table], key: str, partitions: int, job: Any) -> tuple[Scattered]:
    return (scatter(function(job), key, partitions),)


def gather(folder: PathLike, number: int, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows that the files of a finished exchange hold for partition `number`, in the order of the files.

    Raises:
      DataError: a file is missing or damaged.
    """
    chosen = None if columns is None else list(columns)
    tables = []
    for name in engine.partitions_in(folder):
        file = engine.open_partition(as_path(folder) / name)
        tables.append(file.read_row_group(number, columns=chosen, use_threads=False))
        file.close(force=True)
    return pa.concat_tables(tables)
