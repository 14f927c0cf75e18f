"""What selection knows of each document: a few bytes, in arrays that are mapped and not read.

DATASET/index holds one .npy file a column and index.json, written last. It is derived from DATASET/documents: it is
made anew when those change or another column is asked for, and may be removed. Bytes a document on the disk:

    bytes 4 · domain 1 · language 1 · source 2 · cluster 4 · held_out 1 · 4 for each score and 1 for each mark asked for

source takes 4 where there are more than 65,536, cluster next to none where no document has near-duplicates. Of these
files only the pages in use are in memory (in a bucket, which can't be mapped: all of it).
"""

import io
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from etils import epath

from data_pipeline import engine
from data_pipeline.document import DOCUMENTS, INDEX
from data_pipeline.mix import indexing
from data_pipeline.mix.indexing import NAMED
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, exclusive, is_local, read_json

_BUSY = "{}: another process is indexing these documents; run this again when it is done"


@dataclass(frozen=True)
class Index:
    """Columns over all documents; a document's ordinal is its place in them.

    Attributes:
      names: of "domain", "language" and "source": all names, sorted.
      codes: of the same: index into the names, unsigned `[documents]`.
      bytes: length of the text in UTF-8, uint32 `[documents]`.
      cluster: a number for documents with near-duplicates, the same for all of a cluster, else 0; uint32 `[documents]`.
        It is a hash: two clusters may share one, and are then kept apart for nothing.
      held_out: set aside for validation, bool `[documents]`.
      row_groups: first ordinal of each Parquet row group, then the number of documents, int64 `[groups + 1]`.
      scores: float32 `[documents]`, NaN where a document has none; marks: bool `[documents]`; those asked for.
    """

    names: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, np.ndarray]
    bytes: np.ndarray
    cluster: np.ndarray
    held_out: np.ndarray
    row_groups: np.ndarray
    scores: Mapping[str, np.ndarray] = field(default_factory=dict)
    marks: Mapping[str, np.ndarray] = field(default_factory=dict)
    digest: str = ""  # SHA-256 of partition names, row counts and ids

    def __len__(self) -> int:
        return len(self.bytes)

    def score(self, name: str) -> np.ndarray:
        """The values to order and filter by: a score, or for "length" the bytes."""
        return self.bytes if name == "length" else self.scores[name]


def open_index(
    dataset: PathLike, holdout: float, scores: Collection[str] = (), marks: Collection[str] = ()
) -> tuple[Index, list[tuple[epath.Path, int]]]:
    """The index of DATASET/documents, made if it doesn't stand, and (path, number) of each row group.

    Args:
      holdout: share of documents set aside, by the hash of their id.
      scores, marks: names of columns beyond the usual; documents without them get NaN and False.

    Raises:
      DataError: no documents, or a partition that is damaged or lacks a column.
    """
    folder, paths = as_path(dataset) / INDEX, _partitions(dataset)
    print_of = [[path.name, *_stat(path)] for path in paths]
    marker = folder / "index.json"
    asked = {"scores": sorted(scores), "marks": sorted(marks)}
    found = _read(marker) if marker.exists() else {}
    same = (found.get("version"), found.get("partitions"), found.get("holdout")) == (
        indexing.VERSION,
        print_of,
        holdout,
    )
    if not same or any(set(names) - set(found.get(key, ())) for key, names in asked.items()):
        if same:  # keep what another command asked for
            asked = {key: sorted({*names, *found[key]}) for key, names in asked.items()}
        with exclusive(as_path(dataset) / "index.lock", _BUSY.format(dataset)):
            indexing.build(folder, paths, {"partitions": print_of, "holdout": holdout, **asked})
        found = _read(marker)
    groups = _array(folder, "row_groups")
    index = Index(
        names={name: tuple(found["names"][name]) for name in NAMED},
        codes={name: _array(folder, name) for name in NAMED},
        bytes=_array(folder, "bytes"),
        cluster=_array(folder, "cluster") if found["clusters"] else np.broadcast_to(np.uint32(0), found["documents"]),
        held_out=_array(folder, "held_out"),
        row_groups=groups[:, 2],
        scores={name: _array(folder, f"score-{name}") for name in found["scores"]},
        marks={name: _array(folder, f"mark-{name}") for name in found["marks"]},
        digest=found["digest"],
    )
    return index, [(paths[file], number) for file, number in groups[:-1, :2].tolist()]


def _partitions(dataset: PathLike) -> list[epath.Path]:
    folder = as_path(dataset) / DOCUMENTS
    paths = sorted(folder.glob("*.parquet"), key=lambda path: path.name) if folder.exists() else []
    if not paths:
        raise DataError(f"{folder}: no documents (*.parquet); run maxlm-data ingest, clean and dedup first")
    if (folder / engine.MARKER).exists() and not engine.is_complete(folder):
        raise DataError(f"{folder}: dedup was interrupted; run maxlm-data dedup again")
    return paths


def _stat(path: epath.Path) -> tuple[int, float]:
    if is_local(path):
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns
    found = path.stat()
    return found.length, found.mtime


def _read(marker: epath.Path) -> dict[str, Any]:
    try:
        return read_json(marker, "index of documents")
    except DataError as error:
        raise DataError(f"{error}; remove {marker.parent}, it is made again") from error


def _array(folder: epath.Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        if is_local(path):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); remove {folder}, it is made again") from error
