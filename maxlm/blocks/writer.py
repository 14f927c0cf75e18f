"""Writes a block: shards first, the manifest last by atomic rename. A block without a manifest does not exist."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath

from maxlm.blocks.format import RowFormat, Rows
from maxlm.blocks.manifest import Manifest, Shard, save
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, is_local, sync_directory

# One record a group gives cheap random access; rows of tokens hardly compress, and reading them raw is twice as fast.
_OPTIONS = "group_size:1,uncompressed"


def write_block(
    folder: PathLike,
    row_format: RowFormat,
    chunks: Iterable[Rows],
    *,
    rows: int,
    shard_rows: int,
    **manifest: Any,
) -> Manifest:
    """Writes exactly `rows` rows, taken from `chunks` in order, as block `folder`, and returns its manifest.

    What stands in `folder` is removed first, and what was written is removed if anything fails. `manifest` holds the
    remaining Manifest fields; a callable value is called once all chunks are drawn.

    Raises:
      DataError: `chunks` held another number of rows, or the manifest does not balance.
      DiskFullError: no space was left.
    """
    folder = as_path(folder)
    with naming_full_disk("a block", folder), ExitStack() as unfinished:
        _remove(folder)
        unfinished.callback(_remove, folder)
        folder.mkdir(parents=True)
        shards = _write_shards(folder, row_format, chunks, rows, shard_rows)
        fields: dict[str, Any] = {key: value() if callable(value) else value for key, value in manifest.items()}
        finished = Manifest(seq_len=row_format.seq_len, rows=rows, shards=shards, **fields)
        save(folder / "manifest.json", finished)
        unfinished.pop_all()
    return finished


def _remove(folder: epath.Path) -> None:
    """Removes a block, its manifest first: what is left of an interrupted removal is no block."""
    (folder / "manifest.json").unlink(missing_ok=True)
    if folder.exists():
        folder.rmtree()


def _write_shards(
    folder: epath.Path, row_format: RowFormat, chunks: Iterable[Rows], rows: int, shard_rows: int
) -> tuple[Shard, ...]:
    count = max(1, -(-rows // shard_rows))
    paths = [folder / f"shard-{i:05d}-of-{count:05d}.array_record" for i in range(count)]
    sizes = [min(shard_rows, rows - i * shard_rows) for i in range(count)]
    records = (record for chunk in chunks for record in _records(row_format, chunk))
    for path, size in zip(paths, sizes, strict=True):
        writer = ArrayRecordWriter(os.fspath(path), _OPTIONS)
        try:
            for _ in range(size):
                if (record := next(records, None)) is None:
                    raise DataError(f"{folder}: the rows ran out before the block's {rows} were written")
                writer.write(record)
        finally:
            writer.close()
    if next(records, None) is not None:
        raise DataError(f"{folder}: more rows than the block's {rows}")
    return tuple(_published(path, size) for path, size in zip(paths, sizes, strict=True))


def _records(row_format: RowFormat, rows: Rows) -> list[bytes]:
    return [record.tobytes() for record in np.ascontiguousarray(row_format.encode(rows))]


def _published(path: epath.Path, rows: int) -> Shard:
    """Has a shard on the disk and reads it back: a full disk may show only here."""
    if is_local(path):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        sync_directory(path.parent)
    reader = ArrayRecordReader(os.fspath(path))
    found = reader.num_records()
    reader.close()
    if found != rows:
        raise DataError(f"{path}: {rows} rows were written and {found} can be read back; is the disk full?")
    return Shard(path.name, rows, path.stat().length, file_digest(path))


def file_digest(path: PathLike) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with as_path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
