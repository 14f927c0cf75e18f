"""Makes the index of documents: a piece of each partition on all cores, then the pieces one after the other.

Pieces are a stage like any other (data_pipeline/engine.py): what was killed goes on where it stood. Memory holds one
partition's columns for each core, then one piece; the columns are written through mapped files.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath

from data_pipeline import engine
from data_pipeline.mix.hashing import text_hash
from maxlm.config import digest as digest_of
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, is_local, write_json

VERSION = 1
NAMED = ("domain", "language", "source")  # columns of names
_MOST_DOMAINS = 254  # a block can tell apart


def build(folder: epath.Path, paths: Sequence[epath.Path], asked: Mapping[str, Any]) -> None:
    """Writes the columns into `folder`, and index.json last.

    Args:
      paths: the partitions of documents, in order.
      asked: what the index is held to: partitions (name, bytes, time), holdout, scores, marks.
    """
    (folder / "index.json").unlink(missing_ok=True)
    pieces = folder / "pieces"
    stage = engine.Stage("index", (pieces,), digest_of([VERSION, asked["partitions"], asked["scores"], asked["marks"]]))
    work = partial(_piece, tuple(asked["scores"]), tuple(asked["marks"]))
    jobs = {path.name: os.fspath(path) for path in paths}
    engine.make_partitions(stage, work, jobs, sum(size for _, size, _ in asked["partitions"]))
    sources = [pieces / path.name for path in paths]
    names, documents, row_groups, digest = _survey(sources)
    if not documents:
        raise DataError(f"{paths[0].parent}: the partitions hold no documents; were all of them dropped?")
    if len(names["domain"]) > _MOST_DOMAINS:
        found = len(names["domain"])
        raise DataError(f"{paths[0].parent}: {found} domains; a block can tell {_MOST_DOMAINS} apart")
    with naming_full_disk("the index of documents", folder):
        clusters = _write(folder, sources, names, documents, row_groups, asked["holdout"])
        marker = {"version": VERSION, "documents": documents, "digest": digest, "names": names, "clusters": clusters}
        write_json(folder / "index.json", {**marker, **asked})
        pieces.rmtree()


def _survey(pieces: Sequence[epath.Path]) -> tuple[dict[str, list[str]], int, np.ndarray, str]:
    """All names in order, the number of documents, and (partition, row group, first ordinal) of each row group.

    Row groups without documents are left out; behind the last stands an end.
    """
    names: dict[str, set[str]] = {name: set() for name in NAMED}
    groups, documents, digest = [], 0, hashlib.sha256()
    for number, path in enumerate(pieces):
        table = engine.read_partition(path, NAMED)
        for name in NAMED:
            names[name] |= set(table[name].unify_dictionaries().combine_chunks().dictionary.to_pylist())
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        digest.update(metadata["digest"].encode())
        for row_group, rows in enumerate(map(int, metadata["row_groups"].split())):
            if rows:
                groups.append((number, row_group, documents))
                documents += rows
    row_groups = np.array([*groups, (0, 0, documents)], np.int64)
    return {name: sorted(found) for name, found in names.items()}, documents, row_groups, digest.hexdigest()


def _write(
    folder: epath.Path,
    pieces: Sequence[epath.Path],
    names: Mapping[str, Sequence[str]],
    documents: int,
    row_groups: np.ndarray,
    holdout: float,
) -> bool:
    """Writes all columns beside their places, then puts them there. Returns whether any document is in a cluster."""
    ranks = {name: {value: i for i, value in enumerate(values)} for name, values in names.items()}
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        if is_local(folder):  # where a rename puts a column in place; a kill leaves it to the next attempt
            scratch = os.fspath(folder / "new")
            shutil.rmtree(scratch, ignore_errors=True)
            os.mkdir(scratch)
            stack.callback(shutil.rmtree, scratch)
        columns: dict[str, np.memmap] = {}
        held_out = _HeldOut(len(names["domain"]), holdout)
        begin, clusters = 0, False
        for path in pieces:
            table = engine.read_partition(path)
            end = begin + table.num_rows
            values = {name: _codes(table[name], ranks[name]) for name in NAMED}
            for name in table.column_names:
                if name not in (*NAMED, "hash"):
                    values[name] = table[name].to_numpy()
            values["held_out"] = held_out.take(table["hash"].to_numpy(), values["domain"], begin)
            clusters = clusters or bool(values["cluster"].any())
            for name, part in values.items():
                if name not in columns:
                    columns[name] = _reserved(Path(scratch) / f"{name}.npy", part.dtype, documents)
                columns[name][begin:end] = part
            begin = end
        columns["held_out"][held_out.unmeasured()] = True
        for column in columns.values():
            column.flush()
        np.save(Path(scratch) / "row_groups.npy", row_groups, allow_pickle=False)
        made = {f"{name}.npy" for name in (*columns, "row_groups") if name != "cluster" or clusters}
        for name in sorted(made):
            _publish(Path(scratch) / name, folder / name)
        for old in folder.glob("*.npy"):
            if old.name not in made:
                old.unlink()
    return clusters


def _reserved(path: Path, dtype: np.dtype, size: int) -> np.memmap:
    """A mapped file whose room is there: where the disk fills later, writing to a mapping kills the process."""
    column = np.lib.format.open_memmap(path, "w+", dtype, (size,))
    with open(path, "rb+") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return column


def _publish(made: Path, place: epath.Path) -> None:
    if is_local(place):
        os.replace(made, place)
    else:
        epath.Path(made).copy(place, overwrite=True)


def _codes(column: pa.ChunkedArray, rank: Mapping[str, int]) -> np.ndarray:
    dtype = np.uint8 if len(rank) <= 256 else np.uint16 if len(rank) <= 65_536 else np.uint32
    part = column.unify_dictionaries().combine_chunks()
    ranks = np.array([rank[name] for name in part.dictionary.to_pylist()], dtype)
    return ranks[part.indices.to_numpy()] if len(part) else np.empty(0, dtype)


class _HeldOut:
    """Sets `share` of the documents aside; in each domain of two or more at least one, so that none goes unmeasured."""

    def __init__(self, domains: int, share: float):
        self._share, self._below = share, np.uint64(min(share, 1.0) * (2**64 - 2**11))
        self._documents, self._held = np.zeros(domains, np.int64), np.zeros(domains, np.int64)
        self._lowest = np.full(domains, np.iinfo(np.uint64).max)
        self._at = np.full(domains, -1)

    def take(self, hashes: np.ndarray, domain: np.ndarray, begin: int) -> np.ndarray:
        """Which of the documents from ordinal `begin` on are held out by their hash, bool `[documents]`."""
        held = hashes < self._below
        self._documents += np.bincount(domain, minlength=len(self._at))
        self._held += np.bincount(domain[held], minlength=len(self._at))
        for index in np.unique(domain).tolist():
            members = np.flatnonzero(domain == index)
            first = members[np.argmin(hashes[members])]
            if self._at[index] < 0 or hashes[first] < self._lowest[index]:
                self._lowest[index], self._at[index] = hashes[first], begin + first
        return held

    def unmeasured(self) -> np.ndarray:
        """The lowest hash's document of each domain that has more than one, and none held out."""
        return self._at[(self._documents > 1) & (self._held == 0) & (self._share > 0)]


def _piece(scores: tuple[str, ...], marks: tuple[str, ...], path: str) -> tuple[pa.Table]:
    """The columns of one partition, and in the metadata the digest of its ids and the rows of its row groups."""
    file = open_documents(path)
    ids, parts, rows = hashlib.sha256(), [], []
    for table in _read_all(file, path):
        ids.update("".join(f"{name}\0" for name in table["id"].to_pylist()).encode())
        parts.append(_columns(table, scores, marks))
        rows.append(table.num_rows)
    digest = f"{as_path(path).name}\0{sum(rows)}\0{ids.hexdigest()}\0"
    metadata = {"digest": digest, "row_groups": " ".join(map(str, rows))}
    whole = pa.concat_tables([*parts, _columns(_empty(), scores, marks)]).unify_dictionaries()
    return (whole.replace_schema_metadata(metadata),)


def _empty() -> pa.Table:
    return pa.table({name: pa.array([], pa.large_string()) for name in ("id", "text", *NAMED)})


def _read_all(file: pq.ParquetFile, path: str) -> Iterator[pa.Table]:
    there = set(file.schema_arrow.names)
    for number in range(file.num_row_groups):
        table = read_group(file, path, number, ["id", "domain", "source", *(() if "bytes" in there else ("text",))])
        for name in ("bytes", "language", "cluster", "scores", "marks"):
            if name in there:
                table = table.append_column(name, _raw(file, path, number, name))
        yield table


def _columns(table: pa.Table, scores: tuple[str, ...], marks: tuple[str, ...]) -> pa.Table:
    there, rows = table.column_names, table.num_rows
    hashes = np.fromiter(map(text_hash, table["id"].to_pylist()), np.uint64, rows)
    sizes = table["bytes"] if "bytes" in there else pc.call_function("binary_length", [table["text"]])
    columns = {"hash": hashes, "bytes": sizes.to_numpy().astype(np.uint32), "cluster": np.zeros(rows, np.uint32)}
    if "cluster" in there:
        columns["cluster"] = np.fromiter(map(_cluster, table["cluster"].to_pylist()), np.uint32, rows)
    for name in NAMED:
        column = table[name] if name in there else pa.chunked_array([pa.nulls(rows)])
        columns[name] = column.cast(pa.large_string()).fill_null("").combine_chunks().dictionary_encode()
    for name in scores:
        columns[f"score-{name}"] = _score(table, name) if "scores" in there else np.full(rows, np.nan, np.float32)
    for name in marks:
        found = [name in (of or ()) for of in table["marks"].to_pylist()] if "marks" in there else [False] * rows
        columns[f"mark-{name}"] = np.array(found, bool)
    return pa.table(columns)


def _cluster(name: str | None) -> int:
    return 0 if name is None else (text_hash(name) & 0xFFFFFFFF) or 1


def _score(table: pa.Table, name: str) -> np.ndarray:
    """The values of one score out of the documents' maps."""
    values = np.full(table.num_rows, np.nan, np.float32)
    row = 0
    for chunk in table["scores"].chunks:
        ends = np.asarray(chunk.offsets)
        keys, items = chunk.keys, chunk.items
        places = np.flatnonzero(np.asarray(pc.call_function("equal", [keys, name]).fill_null(False)))
        places = places[(places >= ends[0]) & (places < ends[-1])]
        values[row + np.searchsorted(ends, places, side="right") - 1] = np.asarray(items)[places]
        row += len(chunk)
    return values


def open_documents(path: PathLike) -> pq.ParquetFile:
    """A partition of documents; nothing but its footer is read yet."""
    path = as_path(path)
    try:
        if is_local(path):
            return pq.ParquetFile(os.fspath(path), memory_map=True)
        return pq.ParquetFile(path.open("rb"))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not readable as Parquet ({error})") from error


def read_group(
    file: pq.ParquetFile, path: PathLike, row_group: int, columns: Sequence[str], others: Sequence[str] = ()
) -> pa.Table:
    """Some columns of a row group as strings, none of them null; and those of `others` that are there."""
    names = [*columns, *(name for name in others if name in file.schema_arrow.names)]
    table = pa.table({name: _raw(file, path, row_group, name) for name in names})
    # large_string: a row group may hold more than 2 GiB of text.
    table = table.cast(pa.schema([(name, pa.large_string()) for name in names]))
    for name in columns:
        if table.column(name).null_count:
            raise DataError(f"{path}, row group {row_group}: column {name} has empty (null) entries")
    return table


def _raw(file: pq.ParquetFile, path: PathLike, row_group: int, name: str) -> pa.ChunkedArray:
    if name not in file.schema_arrow.names:
        raise DataError(f"{path}: no column {name}; is it a partition of documents?")
    try:
        return file.read_row_group(row_group, columns=[name])[name]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}, row group {row_group}: damaged ({error})") from error
