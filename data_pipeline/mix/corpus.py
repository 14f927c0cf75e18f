"""The cleaned documents as the producer sees them: an index that is mapped, the texts read when they are chosen.

A document's ordinal is its position in DATASET/documents/*.parquet, partitions sorted by name.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_pipeline import conversations
from data_pipeline.conversations import Conversation
from data_pipeline.document import DOCUMENTS
from data_pipeline.mix.index import open_index
from data_pipeline.mix.indexing import open_documents, read_group
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

_BATCH_BYTES = 1 << 20  # text handed on at once; small enough that threads share the work evenly


class Corpus:
    """The documents of a data set.

    Attributes:
      index: columns over all documents; domain, source, bytes, held_out are some of them.
      domains, sources: their names, sorted.
      digest: SHA-256 of partition names, row counts and ids; what the ledger's ordinals stand on.
    """

    def __init__(self, dataset: PathLike, holdout: float, scores: Collection[str] = (), marks: Collection[str] = ()):
        """Opens DATASET/documents and indexes them where that is still to do: see data_pipeline/mix/index.py.

        Raises:
          DataError: no documents, or a partition that is damaged or lacks a column.
        """
        self.folder = as_path(dataset) / DOCUMENTS
        self.index, self._row_groups = open_index(dataset, holdout, scores, marks)
        self.digest = self.index.digest
        self.domains, self.sources = self.index.names["domain"], self.index.names["source"]
        self.domain, self.source = self.index.codes["domain"], self.index.codes["source"]
        self.bytes, self.held_out = self.index.bytes, self.index.held_out

    def __len__(self) -> int:
        return len(self.index)

    def texts(self, ordinals: np.ndarray) -> Iterator[tuple[np.ndarray, list[str]]]:
        """(ordinals, texts): those of `batches`, as strings."""
        return ((batch.ordinals, [text.decode() for text in batch.texts]) for batch in self.batches(ordinals))

    def batches(self, ordinals: np.ndarray) -> Iterator["Texts"]:
        """The texts of `ordinals` (ascending, each once), about a megabyte at a time, in their order.

        Raises:
          DataError: a partition vanished or was damaged since it was indexed, or a conversation can't be told any more.
        """
        firsts = self.index.row_groups
        bounds = np.searchsorted(ordinals, firsts)
        for i in np.flatnonzero(bounds[1:] > bounds[:-1]).tolist():
            wanted = ordinals[bounds[i] : bounds[i + 1]]
            path, number = self._row_groups[i]
            table = read_group(open_documents(path), path, number, ["text"], ["metadata"])
            table = table.take(pa.array(wanted - firsts[i])).combine_chunks()
            column = table.column("text").cast(pa.large_binary()).combine_chunks()
            for part in _batches(self.bytes[wanted]):
                texts = column[part].to_pylist()
                yield Texts(wanted[part], texts, self._conversations(wanted[part], texts, table[part]))

    def _conversations(self, ordinals: np.ndarray, texts: list[bytes], table: pa.Table) -> list[Conversation | None]:
        if "metadata" not in table.column_names or table.column("metadata").null_count == table.num_rows:
            return [None] * len(texts)
        try:
            return conversations.read(texts, table.column("metadata").to_pylist())
        except conversations.UnreadableError as error:
            raise DataError(f"{self.where(int(ordinals[error.number]))}: {error}") from error

    def part(self, ordinals: np.ndarray, parts: int) -> np.ndarray:
        """Which of `parts` disjoint parts each document belongs to: row groups take turns, int64 `[ordinals]`."""
        return (np.searchsorted(self.index.row_groups, ordinals, side="right") - 1) % parts

    def where(self, ordinal: int) -> str:
        """The place of a document, for errors."""
        group = int(np.searchsorted(self.index.row_groups, ordinal, side="right")) - 1
        path, number = self._row_groups[group]
        return f"{path}, row group {number}, row {ordinal - int(self.index.row_groups[group])}"


class Texts(NamedTuple):
    """Some documents' texts, one entry a document."""

    ordinals: np.ndarray
    texts: list[bytes]  # UTF-8
    conversations: list[Conversation | None]  # that the texts are


def _batches(sizes: np.ndarray) -> Iterator[slice]:
    """Slices of about `_BATCH_BYTES` of text; a longer text stands alone."""
    ends = np.cumsum(sizes, dtype=np.int64)
    start = 0
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BATCH_BYTES, side="right")))
        yield slice(start, stop)
        start = stop
