"""The data engine: partitions in, partitions out, on this machine or on a Ray cluster. Only this and dedup/ know Daft.

A stage is a folder of Parquet partitions with a marker, `_stage.json`, that holds the digest of everything the
partitions were made from. A partition is written beside its place and renamed, so that whatever bears the final name
is whole: a stage that was killed goes on where it stood, and one whose parameters or inputs changed starts again.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from data_pipeline import workers
from maxlm import config as config_lib
from maxlm.errors import ConfigError, DataError, UserError, naming_full_disk
from maxlm.paths import PathLike, as_path, read_json, write_atomic, write_json

# Read by daft on import. It sends usage data otherwise, and draws bars into our output.
os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("DAFT_PROGRESS_BAR", "0")

MARKER = "_stage.json"
# Dictionaries and bounds would cost more than they spare: texts and hashes hardly repeat, and files are read whole.
_PARQUET: dict[str, Any] = {"compression": "zstd", "use_dictionary": False, "write_statistics": False}


@dataclass(frozen=True)
class Stage:
    """What one step makes: `folders` hold one partition of each name, the last of them being written last."""

    name: str  # as people call it: the word on the progress line
    folders: tuple[PathLike, ...]
    digest: str  # of parameters and inputs
    runner: str = "native"

    @property
    def done_folder(self) -> epath.Path:
        """Where a partition's presence says that all of its tables are there."""
        return as_path(self.folders[-1])


@dataclass(frozen=True)
class Scattered:
    """A table whose rows stand in groups, one for each partition of the step after: group i is ``counts[i]`` rows."""

    table: pa.Table
    counts: tuple[int, ...]


def partition_name(number: int) -> str:
    """The file name of a partition."""
    return f"part-{number:05d}.parquet"


def partition_names(count: int) -> list[str]:
    """The file names of `count` partitions, in order."""
    return [partition_name(number) for number in range(count)]


def digest(stage: str, parameters: Any, inputs: Sequence[PathLike] = ()) -> str:
    """What a stage depends on: its parameters, and the digests of the stages in the folders `inputs`."""
    return config_lib.digest([stage, parameters, [stage_digest(folder) for folder in inputs]])


def stage_digest(folder: PathLike) -> str:
    """The digest that the partitions in `folder` were made under; "" where no stage stands."""
    marker = as_path(folder) / MARKER
    return str(read_json(marker, "stage marker").get("digest", "")) if marker.exists() else ""


def is_complete(folder: PathLike, expected_digest: str = "") -> bool:
    """Whether all partitions of a stage are there (made under `expected_digest`, where one is given)."""
    marker = as_path(folder) / MARKER
    if not marker.exists():
        return False
    found = read_json(marker, "stage marker")
    if expected_digest and found.get("digest") != expected_digest:
        return False
    return all((as_path(folder) / name).exists() for name in found.get("partitions", []))


def require(folder: PathLike, command: str, expected_digest: str = "") -> list[str]:
    """The names of a finished stage's partitions, in order.

    Raises:
      DataError: the stage was never run, was interrupted, or was run with other settings; names the `command` to run.
    """
    if not is_complete(folder):
        state = "is not finished" if (as_path(folder) / MARKER).exists() else "does not exist"
        raise DataError(f"{os.fspath(as_path(folder))} {state}: run `maxlm-data {command}` first")
    if expected_digest and not is_complete(folder, expected_digest):
        raise DataError(f"{as_path(folder)} was made with other settings or input: run `maxlm-data {command}` again")
    return partitions_in(folder)


def partitions_in(folder: PathLike) -> list[str]:
    """The names of the partitions of a stage that was begun, in order."""
    return list(read_json(as_path(folder) / MARKER, "stage marker")["partitions"])


def make_partitions(
    stage: Stage,
    function: Callable[[Any], tuple[pa.Table | Scattered, ...]],
    jobs: Mapping[str, Any],
    size_bytes: int,
) -> None:
    """Writes the tables of ``function(argument)`` to the stage's folders for all `jobs`: partition name -> argument.

    Partitions that stand already are left alone if the stage's digest is unchanged. `function` runs in other processes
    (Python code holds the interpreter's lock), so it must be importable; `size_bytes` of input decide whether
    starting them is worth while.

    Raises:
      UserError: whatever `function` raised of that kind; partitions finished before stay.
    """
    _open_stage(stage, list(jobs))
    pending = {name: job for name, job in jobs.items() if not (stage.done_folder / name).exists()}
    folders = tuple(os.fspath(as_path(folder)) for folder in stage.folders)
    work = partial(_make_partition, function, folders)
    if stage.runner == "ray":
        _on_ray(work, pending)
    else:
        workers.run(stage.name, work, pending, size_bytes)


def map_partitions(
    stage: Stage,
    function: Callable[..., pa.Table],
    inputs: Sequence[PathLike],
    names: Sequence[str],
    light: bool = False,
) -> None:
    """Writes ``function(*tables)`` for the tables of each name in `inputs`, under the same name, in the same order.

    `function` must answer a row for each row of its first table: attributes stand beside their documents. Where it is
    `light`, other processes are not worth starting.
    """
    folders = [as_path(folder) for folder in inputs]
    size_bytes = 0 if light else sum((folder / name).stat().length for folder in folders for name in names)
    jobs = {name: [os.fspath(folder / name) for folder in folders] for name in names}
    make_partitions(stage, partial(_map_partition, function), jobs, size_bytes)


def _map_partition(function: Callable[..., pa.Table], paths: Sequence[str]) -> tuple[pa.Table]:
    tables = [read_partition(path) for path in paths]
    made = function(*tables)
    if made.num_rows != tables[0].num_rows:
        raise RuntimeError(f"{paths[0]}: {tables[0].num_rows} rows in, {made.num_rows} out")
    return (made,)


def _make_partition(
    function: Callable[[Any], tuple[pa.Table | Scattered, ...]], folders: tuple[str, ...], name: str, job: Any
) -> None:
    for folder, table in zip(folders, function(job), strict=True):
        write_partition(as_path(folder) / name, table)


def _open_stage(stage: Stage, names: list[str]) -> None:
    """Makes the folders ready; drops what stands there from other parameters or inputs."""
    if stage_digest(stage.done_folder) == stage.digest:
        return
    # The marker goes first, and the folder that says "done" before the others: a kill anywhere in here leaves
    # nothing that the next run could take for finished.
    for folder in reversed([as_path(folder) for folder in stage.folders]):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).unlink(missing_ok=True)
        for old in folder.glob("part-*.parquet"):
            old.unlink()
    for folder in stage.folders:
        write_json(as_path(folder) / MARKER, {"digest": stage.digest, "stage": stage.name, "partitions": names})


def write_partition(path: PathLike, content: pa.Table | Scattered) -> None:
    """Writes one Parquet file, whole or not at all; each group of a scattered table as one row group.

    Raises:
      DiskFullError: no space left.
    """
    buffer = pa.BufferOutputStream()
    if isinstance(content, Scattered):
        with pq.ParquetWriter(buffer, content.table.schema, **_PARQUET) as writer:
            start = 0
            for count in content.counts:
                writer.write_table(content.table.slice(start, count), row_group_size=max(count, 1))
                start += count
    else:
        pq.write_table(content, buffer, **_PARQUET)
    with naming_full_disk("a partition", path):
        write_atomic(path, buffer.getvalue().to_pybytes())


def count_rows(path: PathLike) -> int:
    """The rows of one Parquet file, by its footer.

    Raises:
      DataError: the file is missing or damaged.
    """
    file = open_partition(path)
    rows = file.metadata.num_rows
    file.close(force=True)
    return rows


def open_partition(path: PathLike) -> pq.ParquetFile:
    """Opens one Parquet file to read parts of it; nothing but its footer is read yet.

    Raises:
      DataError: the file is missing or damaged.
    """
    try:
        # pre_buffer would start Arrow's threads: see read_partition.
        return pq.ParquetFile(as_path(path).open("rb"), pre_buffer=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such partition") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged partition ({error}): delete its folder and run the stage again") from error


def read_partition(path: PathLike, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads one Parquet file, or `columns` of it.

    Raises:
      DataError: the file is missing or damaged.
    """
    try:
        # Not pq.read_table: it starts Arrow's threads, which at times abort a process that ends while they do (25.0.1),
        # and one partition a process is all the parallelism that is wanted.
        file = pq.ParquetFile(pa.BufferReader(as_path(path).read_bytes()), pre_buffer=False)
        return file.read(None if columns is None else list(columns), use_threads=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such partition") from error
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path}: damaged partition ({error}): delete its folder and run the stage again") from error


def daft_module() -> ModuleType:
    """The daft module, for its kernels on single columns."""
    import daft  # takes half a second, which --help and small stages need not pay

    return daft


@cache
def daft_on_ray() -> ModuleType:
    """The daft module, set to run on the Ray cluster that RAY_ADDRESS names; without it, on one started here.

    Once a process has run something, Daft lets no other runner be set there.

    Raises:
      ConfigError: Ray is not installed, or no cluster answers.
    """
    _require_ray()
    daft = daft_module()
    try:
        daft.set_runner_ray(noop_if_initialized=True)
    except ConnectionError as error:
        raise ConfigError(f"config.runner: no Ray cluster answers at RAY_ADDRESS ({error})") from error
    return daft


def ray_module() -> ModuleType:
    """The ray module, connected to the cluster that RAY_ADDRESS names; without it, to one started here.

    Raises:
      ConfigError: Ray is not installed, or no cluster answers.
    """
    _require_ray()
    import ray

    try:
        ray.init(ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    except ConnectionError as error:
        raise ConfigError(f"config.runner: no Ray cluster answers at RAY_ADDRESS ({error})") from error
    return ray


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("config.runner: 'ray' needs the package: pip install ray, or use config.runner='native'")


def _on_ray(work: Callable[[str, Any], None], jobs: Mapping[str, Any]) -> None:
    """Runs ``work(name, job)`` for all jobs on the cluster; a UserError travels back as its message."""
    if not jobs:
        return
    daft = daft_on_ray()
    run = daft.func(partial(_work_and_tell, work, dict(jobs)), return_dtype=daft.DataType.string())
    frame = daft.from_pydict({"partition": list(jobs)}).into_partitions(len(jobs))
    told = frame.select(run(daft.col("partition")).alias("told")).to_pydict()["told"]
    if messages := [message for message in told if message]:
        raise DataError(messages[0])


def _work_and_tell(work: Callable[[str, Any], None], jobs: dict[str, Any], name: str) -> str:
    try:
        work(name, jobs[name])
    except UserError as error:
        return str(error)
    return ""
