"""The cleaned documents as the producer sees them: an index in memory, the texts read when they are chosen.

A document's ordinal is its position in DATASET/documents/*.parquet, partitions sorted by name.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath

from data_pipeline import engine, prompts
from data_pipeline.document import DOCUMENTS
from data_pipeline.produce.hashing import text_hash
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, is_local

_INDEXED = ["id", "text", "source", "domain"]
_BATCH_BYTES = 1 << 20  # text handed on at once; small enough that threads share the work evenly


@dataclass(frozen=True)
class _RowGroup:
    path: epath.Path
    number: int
    first: int  # ordinal of its first document
    rows: int


class Corpus:
    """The documents of a data set.

    Attributes:
      domains, sources: their names, sorted.
      domain: index into `domains`, uint8 `[documents]`.
      source: index into `sources`, int32 `[documents]`.
      bytes: length of the text in UTF-8, int64 `[documents]`.
      held_out: set aside for validation, bool `[documents]`.
      digest: SHA-256 of partition names, row counts and ids; what the ledger's ordinals stand on.
    """

    def __init__(self, dataset: PathLike, holdout: float):
        """Indexes DATASET/documents. `holdout`: share of documents set aside, by the hash of their id.

        Raises:
          DataError: no documents, or a partition that is damaged or lacks a column.
        """
        self.folder = as_path(dataset) / DOCUMENTS
        paths = sorted(self.folder.glob("*.parquet"), key=lambda path: path.name) if self.folder.exists() else []
        if not paths:
            raise DataError(f"{self.folder}: no documents (*.parquet); run maxlm-data ingest, clean and dedup first")
        if (self.folder / engine.MARKER).exists() and not engine.is_complete(self.folder):
            raise DataError(f"{self.folder}: dedup was interrupted; run maxlm-data dedup again")
        self._row_groups: list[_RowGroup] = []
        columns = _Columns()
        for path in paths:
            self._index(path, columns)
        if not self._row_groups:
            raise DataError(f"{self.folder}: the partitions hold no documents; were all of them dropped?")
        self._firsts = np.array([group.first for group in self._row_groups])
        self.digest = columns.digest.hexdigest()
        self.domains, self.domain = _ranked(columns.domains, np.uint8, 254, self.folder)
        self.sources, self.source = _ranked(columns.sources, np.int32, 2**31 - 1, self.folder)
        self.bytes = np.concatenate(columns.sizes)
        self.held_out = _held_out(np.concatenate(columns.hashes), self.domain, holdout)

    def __len__(self) -> int:
        return len(self.bytes)

    def _index(self, path: epath.Path, columns: "_Columns") -> None:
        file = _open(path)
        columns.digest.update(f"{path.name}\0{file.metadata.num_rows}\0".encode())
        for number in range(file.num_row_groups):
            table = _read(file, path, number, _INDEXED)
            if table.num_rows:
                first = self._row_groups[-1].first + self._row_groups[-1].rows if self._row_groups else 0
                self._row_groups.append(_RowGroup(path, number, first, table.num_rows))
                columns.add(table)

    def texts(self, ordinals: np.ndarray) -> Iterator[tuple[np.ndarray, list[str]]]:
        """(ordinals, texts): those of `batches`, as strings."""
        return ((batch.ordinals, [text.decode() for text in batch.texts]) for batch in self.batches(ordinals))

    def batches(self, ordinals: np.ndarray) -> Iterator["Texts"]:
        """The texts of `ordinals` (ascending, each once), about a megabyte at a time, in their order.

        Raises:
          DataError: a partition vanished or was damaged since it was indexed, or a text lost its prompt.
        """
        bounds = np.searchsorted(ordinals, [*self._firsts, len(self)])
        for group, begin, end in zip(self._row_groups, bounds[:-1], bounds[1:], strict=True):
            if begin == end:
                continue
            wanted = ordinals[begin:end]
            table = _read(_open(group.path), group.path, group.number, ["text"], ["metadata"])
            table = table.take(pa.array(wanted - group.first)).combine_chunks()
            column = table.column("text").cast(pa.large_binary()).combine_chunks()
            for part in _batches(self.bytes[wanted]):
                texts = column[part].to_pylist()
                yield Texts(wanted[part], texts, self._prompts(wanted[part], texts, table[part]))

    def _prompts(self, ordinals: np.ndarray, texts: list[bytes], table: pa.Table) -> np.ndarray:
        if "metadata" not in table.column_names or table.column("metadata").null_count == table.num_rows:
            return np.zeros(len(texts), np.int64)
        try:
            return prompts.sizes(texts, table.column("metadata").to_pylist())
        except prompts.EditedError as error:
            raise DataError(f"{self.where(int(ordinals[error.number]))}: {error}") from error

    def part(self, ordinals: np.ndarray, parts: int) -> np.ndarray:
        """Which of `parts` disjoint parts each document belongs to: row groups take turns, int64 `[ordinals]`."""
        return (np.searchsorted(self._firsts, ordinals, side="right") - 1) % parts

    def where(self, ordinal: int) -> str:
        """The place of a document, for errors."""
        group = self._row_groups[int(np.searchsorted(self._firsts, ordinal, side="right")) - 1]
        return f"{group.path}, row group {group.number}, row {ordinal - group.first}"


class Texts(NamedTuple):
    """Some documents' texts, one entry a document."""

    ordinals: np.ndarray
    texts: list[bytes]  # UTF-8
    prompts: np.ndarray  # int64, bytes at the beginning that are a prompt


class _Columns:
    """The index while it grows, one entry a row group."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.domains: list[pa.DictionaryArray] = []
        self.sources: list[pa.DictionaryArray] = []
        self.sizes: list[np.ndarray] = []
        self.hashes: list[np.ndarray] = []

    def add(self, table: pa.Table) -> None:
        ids = table.column("id").to_pylist()
        self.digest.update("".join(f"{name}\0" for name in ids).encode())
        self.hashes.append(np.fromiter(map(text_hash, ids), np.uint64, len(ids)))
        self.sizes.append(pc.call_function("binary_length", [table.column("text")]).to_numpy().astype(np.int64))
        self.domains.append(table.column("domain").combine_chunks().dictionary_encode())
        self.sources.append(table.column("source").combine_chunks().dictionary_encode())


def _open(path: epath.Path) -> pq.ParquetFile:
    try:
        if is_local(path):
            return pq.ParquetFile(os.fspath(path), memory_map=True)
        return pq.ParquetFile(path.open("rb"))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not readable as Parquet ({error})") from error


def _read(
    file: pq.ParquetFile, path: epath.Path, row_group: int, columns: Sequence[str], others: Sequence[str] = ()
) -> pa.Table:
    """Some columns of a row group as strings, none of them null; and those of `others` that are there."""
    names = file.schema_arrow.names
    if missing := set(columns) - set(names):
        raise DataError(f"{path}: no column {', '.join(sorted(missing))}; is it a partition of documents?")
    try:
        table = file.read_row_group(row_group, columns=[*columns, *(name for name in others if name in names)])
        # large_string: a row group may hold more than 2 GiB of text.
        table = table.cast(pa.schema([(name, pa.large_string()) for name in table.column_names]))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}, row group {row_group}: damaged ({error})") from error
    for name in columns:
        if table.column(name).null_count:
            raise DataError(f"{path}, row group {row_group}: column {name} has empty (null) entries")
    return table


def _ranked(
    parts: list[pa.DictionaryArray], dtype: type[np.integer], most: int, where: object
) -> tuple[tuple[str, ...], np.ndarray]:
    """All names in order, and for each document the index of its own."""
    names = sorted({name for part in parts for name in part.dictionary.to_pylist()})
    if len(names) > most:
        raise DataError(f"{where}: {len(names)} domains; a block can tell {most} apart")
    rank = {name: i for i, name in enumerate(names)}
    ranks = [np.array([rank[name] for name in part.dictionary.to_pylist()], dtype) for part in parts]
    columns = [of[part.indices.to_numpy()] for of, part in zip(ranks, parts, strict=True)]
    return tuple(names), np.concatenate(columns)


def _held_out(hashes: np.ndarray, domain: np.ndarray, share: float) -> np.ndarray:
    """Marks `share` of the documents; in each domain of two or more at least one, so that none goes unmeasured."""
    held_out = hashes < np.uint64(min(share, 1.0) * (2**64 - 2**11))
    for index in np.unique(domain) if share > 0 else []:
        members = np.flatnonzero(domain == index)
        if len(members) > 1 and not held_out[members].any():
            held_out[members[np.argmin(hashes[members])]] = True
    return held_out


def _batches(sizes: np.ndarray) -> Iterator[slice]:
    """Slices of about `_BATCH_BYTES` of text; a longer text stands alone."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BATCH_BYTES, side="right")))
        yield slice(start, stop)
        start = stop
