"""Where the documents that take part stand: the partitions of this data set, then those that earlier ones kept.

A document's ordinal is the number of its origin times 2**32, plus its row there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data_pipeline import attributes, engine, recipe
from data_pipeline.config import DataConfig
from data_pipeline.document import ATTRIBUTES, DOCUMENTS, INGESTED
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

_SLICE_CHARACTERS = 4_000_000  # of text that stand in memory as Python strings, more or less
_ROW_BITS = 32
_PART_BYTES = 2**25  # of documents as they are stored, to a partition of an exchange


@dataclass(frozen=True)
class Origin:
    """One partition of documents; paths of files."""

    number: int
    documents: str
    attributes: tuple[str, ...] = ()  # what the stages before deduplication say of them
    earlier: bool = False  # from a data set that came before: its documents stay, whatever repeats them
    folder: str = ""  # that data set

    @property
    def name(self) -> str:
        """The name of its partition in those stages of deduplication that go origin by origin."""
        return engine.partition_name(self.number)


@dataclass(frozen=True)
class Origins:
    """All origins, in order; `folders` are the stages that they belong to."""

    origins: tuple[Origin, ...]
    folders: tuple[PathLike, ...]
    size_bytes: int
    parts: int  # partitions of what is exchanged by bucket, node or component: few where documents are few

    def __len__(self) -> int:
        return len(self.origins)

    def jobs(self) -> dict[str, Origin]:
        """What is done origin by origin, by the name of the partition that it makes."""
        return {origin.name: origin for origin in self.origins}

    def part_jobs(self) -> dict[str, int]:
        """What is done part by part: the parts' numbers."""
        return {engine.partition_name(number): number for number in range(self.parts)}


def find(config: DataConfig, dataset: PathLike) -> Origins:
    """The origins of a data set.

    Raises:
      DataError: a stage before is not finished, or was made with another config; or an earlier data set has no
        documents.
    """
    dataset = as_path(dataset)
    folders: list[PathLike] = list(attributes.folders_before(config, dataset, "dedup"))
    names = engine.require(dataset / INGESTED, "ingest")
    engine.require(dataset / recipe.CLEANED, "clean", recipe.stage_digest(config, dataset))
    origins = [
        Origin(number, str(as_path(folders[0]) / name), tuple(str(as_path(folder) / name) for folder in folders[1:]))
        for number, name in enumerate(names)
    ]
    for earlier in map(as_path, config.dedup.against):
        if not engine.is_complete(earlier / DOCUMENTS):
            raise DataError(f"config.dedup.against: {earlier} holds no documents: run `maxlm-data dedup` there first")
        for name in engine.require(earlier / DOCUMENTS, "dedup"):
            path = str(earlier / DOCUMENTS / name)
            origins.append(Origin(len(origins), path, earlier=True, folder=str(earlier)))
        folders.append(earlier / DOCUMENTS)
    rows = sum(engine.count_rows(origin.documents) for origin in origins)
    size_bytes = sum(as_path(origin.documents).stat().length for origin in origins)
    parts = 1 + max(rows // config.dedup.part_documents, size_bytes // _PART_BYTES)
    return Origins(tuple(origins), tuple(folders), size_bytes, min(parts, len(origins)))


def attribute_path(dataset: PathLike, stage: str, origin: Origin) -> str:
    """The file that holds what `stage` says of an origin of this data set."""
    return str(as_path(dataset) / ATTRIBUTES / stage / as_path(origin.documents).name)


def ordinals(origin: Origin, rows: np.ndarray) -> np.ndarray:
    """The ordinals of rows of an origin: int64."""
    return rows.astype(np.int64) + (origin.number << _ROW_BITS)


def place(ordinals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the origin, and row, of each ordinal."""
    return ordinals >> _ROW_BITS, ordinals & ((1 << _ROW_BITS) - 1)


def texts(
    origin: Origin, rows: np.ndarray | None = None, columns: Sequence[str] = ()
) -> Iterator[tuple[np.ndarray, pa.Table, list[str | None]]]:
    """The documents of an origin (of its `rows`), slice by slice: rows, `columns` and text, texts as edited so far."""
    table = engine.read_partition(origin.documents, [*columns, "text"])
    said = [_wanted(path) for path in origin.attributes]
    all_rows = np.arange(table.num_rows) if rows is None else rows
    if rows is not None:
        table, said = table.take(pa.array(rows)), [part.take(pa.array(rows)) for part in said]
    step = max(1, int(_SLICE_CHARACTERS * table.num_rows / max(1, table["text"].nbytes)))
    for start in range(0, table.num_rows, step):
        part = table.slice(start, step)
        yield all_rows[start : start + step], part, attributes.current_texts(part, [a.slice(start, step) for a in said])


def _wanted(path: str) -> pa.Table:
    return engine.read_partition(path, [name for name in columns_of(path) if name in ("text", "reason")])


def columns_of(path: str) -> list[str]:
    """The columns that a partition holds."""
    file = engine.open_partition(path)
    names = file.schema_arrow.names
    file.close(force=True)
    return names
