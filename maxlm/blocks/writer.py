"""Writes a block: shards first, the manifest last by atomic rename. A block without a manifest does not exist."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath

from maxlm.blocks.format import RowFormat, Rows
from maxlm.blocks.manifest import Manifest, Shard, save
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, is_local, sync_directory

# One record a group gives cheap random access; rows of tokens hardly compress, and reading them raw is twice as fast.
_OPTIONS = "group_size:1,uncompressed"


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be written: its place among the block's, and the rows that go into it."""

    number: int
    of: int  # shards in the block
    seq_len: int
    start: int  # its rows are [start, end) of whatever they are taken from
    end: int

    @property
    def file(self) -> str:
        return f"shard-{self.number:05d}-of-{self.of:05d}.array_record"


def plan_shards(rows: Sequence[tuple[int, int]], shard_tokens: int) -> list[list[ShardPlan]]:
    """Cuts runs of rows, each a (seq_len, rows), into shards of about `shard_tokens` inputs; one list a run.

    Rows are counted from 0 within their run.
    """
    bounds = [range(0, count, max(1, shard_tokens // seq_len)) for seq_len, count in rows]
    of, number, plans = sum(map(len, bounds)), 0, []
    for (seq_len, count), starts in zip(rows, bounds, strict=True):
        ends = [min(start + starts.step, count) for start in starts]
        pairs = enumerate(zip(starts, ends, strict=True), start=number)
        plans.append([ShardPlan(i, of, seq_len, start, end) for i, (start, end) in pairs])
        number += len(starts)
    return plans


@contextmanager
def new_block(folder: PathLike) -> Iterator[Callable[..., Manifest]]:
    """Makes room for a block; what stands in `folder` is removed first.

    Gives the function that publishes the manifest, which takes a Manifest's fields. What was written is removed again
    unless it was called.

    Raises:
      DataError: the manifest does not balance.
      DiskFullError: no space was left.
    """
    folder, published = as_path(folder), []

    def publish(**fields: Any) -> Manifest:
        manifest = Manifest(**fields)
        save(folder / "manifest.json", manifest)
        published.append(manifest)
        return manifest

    with naming_full_disk("a block", folder), ExitStack() as unfinished:
        remove_block(folder)
        unfinished.callback(remove_block, folder)
        folder.mkdir(parents=True)
        yield publish
        if published:
            unfinished.pop_all()


def remove_block(folder: PathLike) -> None:
    """Removes a block, its manifest first: what is left of an interrupted removal is no block."""
    folder = as_path(folder)
    (folder / "manifest.json").unlink(missing_ok=True)
    if folder.exists():
        folder.rmtree()


def write_shard(folder: PathLike, plan: ShardPlan, row_format: RowFormat, chunks: Iterable[Rows]) -> Shard:
    """Writes a shard's rows, taken from `chunks` in order. Several may be written at once.

    Raises:
      DataError: `chunks` held another number of rows, or what was written can't be read back.
      DiskFullError: no space was left.
    """
    path, written = as_path(folder) / plan.file, 0
    with naming_full_disk("a block", folder):
        writer = ArrayRecordWriter(os.fspath(path), _OPTIONS)
        try:
            for chunk in chunks:
                for record in _records(row_format, chunk):
                    writer.write(record)
                written += len(chunk.tokens)
        finally:
            writer.close()
        if written != plan.end - plan.start:
            raise DataError(f"{path}: {written} rows where {plan.end - plan.start} were planned")
        return _published(path, written, plan.seq_len)


def _records(row_format: RowFormat, rows: Rows) -> Iterator[bytes]:
    return (record.tobytes() for record in row_format.encode(rows))


def _published(path: epath.Path, rows: int, seq_len: int) -> Shard:
    """Has a shard on the disk and reads it back: a full disk may show only here."""
    digest = file_digest(path)  # while the system is already writing it out
    if is_local(path):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        sync_directory(path.parent)
    reader = ArrayRecordReader(os.fspath(path))
    found = reader.num_records()
    reader.close()
    if found != rows:
        raise DataError(f"{path}: {rows} rows were written and {found} can be read back; is the disk full?")
    return Shard(path.name, rows, path.stat().length, digest, seq_len)


def file_digest(path: PathLike) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with as_path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
