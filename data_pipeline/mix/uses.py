"""Uses per document: a tensorstore array by ordinal, in generations.

A change writes the array anew beside the old one, a chunk at a time; which generation counts is said elsewhere, in one
atomic step (data_pipeline/mix/ledger.py), and then the old one goes. So the disk holds one generation, and two while a
change is made, and memory a few chunks.
"""

import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import tensorstore as ts

from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, is_local

DTYPE = np.uint16
CHUNK = 1 << 20  # documents
_IN_FLIGHT = 4  # chunks being written


class UsesArray:
    """One generation. Chunks that nobody wrote to hold 0 and take no space."""

    def __init__(self, folder: PathLike, documents: int, *, create: bool = False):
        """Opens the array in `folder`, or makes it.

        Raises:
          DataError: it is damaged or missing.
        """
        self.folder, self.documents = as_path(folder), documents
        with naming_access(self.folder):
            self._array = open_array(folder, DTYPE, documents, CHUNK, create=create)
            if self._array.shape != (documents,):
                raise DataError(f"{self.folder}: holds {self._array.shape[0]} documents, not {documents}; damaged")

    def read(self, begin: int, end: int) -> np.ndarray:
        """Uses of the documents [begin, end), uint16."""
        with naming_access(self.folder):
            return np.asarray(self._array[begin:end].read().result())

    def total(self) -> int:
        """All uses together."""
        return sum(int(part.sum(dtype=np.int64)) for _, part in self.chunks())

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first ordinal, uses) of all documents, a chunk at a time."""
        for begin in range(0, self.documents, CHUNK):
            yield begin, self.read(begin, min(begin + CHUNK, self.documents))

    def fill(self, before: "UsesArray | None", ordinals: np.ndarray, counts: np.ndarray) -> None:
        """Writes `before` (None: no uses) with `counts` added; where they are negative, taken off.

        Args:
          ordinals: ascending, each once.

        Raises:
          DataError: uses below none, or more than fit.
        """
        waiting: deque[ts.WriteFutures] = deque()
        with naming_access(self.folder):
            for begin in range(0, self.documents, CHUNK):
                end = min(begin + CHUNK, self.documents)
                uses = np.zeros(end - begin, np.int64) if before is None else before.read(begin, end).astype(np.int64)
                first, last = np.searchsorted(ordinals, [begin, end])
                uses[ordinals[first:last] - begin] += counts[first:last]
                self._check(uses, begin)
                waiting.append(self._array[begin:end].write(uses.astype(DTYPE)))
                if len(waiting) > _IN_FLIGHT:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()

    def _check(self, uses: np.ndarray, begin: int) -> None:
        if uses.min() < 0:
            raise DataError(
                f"{self.folder.parent}: document {begin + int(uses.argmin())} would give back uses that were never "
                "counted: run `maxlm-data ledger --rebuild`"
            )
        if uses.max() > np.iinfo(DTYPE).max:
            raise DataError(
                f"{self.folder.parent}: document {begin + int(uses.argmax())} would be used more than "
                f"{np.iinfo(DTYPE).max} times: there are too few of its kind; set config.mixture.max_uses"
            )


def open_array(folder: PathLike, dtype: type, size: int, chunk: int, *, create: bool) -> ts.TensorStore:
    """A zarr 3 array of one dimension, compressed, here or in a bucket."""
    path = os.fspath(as_path(folder))
    kvstore = f"file://{path}/" if is_local(path) else f"{path}/"
    metadata = {
        "shape": [size],
        "data_type": np.dtype(dtype).name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunk]}},
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 1}},
        ],
    }
    spec = {"driver": "zarr3", "kvstore": kvstore, **({"metadata": metadata} if create else {})}
    return ts.open(spec, create=create, delete_existing=create, open=not create).result()


@contextmanager
def naming_access(folder: PathLike) -> Iterator[None]:
    """Says what is wrong with an array of the ledger in our words."""
    try:
        with naming_full_disk("the ledger", folder):
            yield
    except ValueError as error:  # tensorstore knows no other kind
        raise DataError(f"{folder}: damaged, or out of reach ({str(error).splitlines()[0]})") from error
