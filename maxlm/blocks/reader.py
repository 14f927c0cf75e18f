"""Reads the blocks of a data set: lists them, verifies them, gives their rows at random."""

import itertools
import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from etils import epath

from maxlm.blocks.manifest import DatasetInfo, Manifest, load_dataset, load_manifest
from maxlm.blocks.writer import file_digest
from maxlm.errors import DamagedBlockError, DataError
from maxlm.journal import Journal
from maxlm.paths import PathLike, as_path, write_json

# Rows are read at random: reading ahead in a shard would be for nothing.
_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
_BLOCK_NAME = re.compile(r"block-(\d{5,})")


class Records:
    """Random access to the records of some shards, as one sequence. Several threads may read at once.

    Reads through array_record's reader itself: grain's ArrayRecordDataSource starts a pool of threads for each call,
    which takes 200 µs a batch where the reading takes 10 µs a row.
    """

    def __init__(self, paths: Sequence[str], rows: Sequence[int]):
        """`rows`: how many records each of `paths` holds.

        Raises:
          DataError: a shard is missing, is damaged, or holds another number of records.
        """
        self._paths, self._rows = list(paths), list(rows)
        self._ends = np.array(list(itertools.accumulate(rows)), np.int64)
        self._readers = [ArrayRecordReader(path, _OPTIONS) for path in paths]
        for path, reader, count in zip(paths, self._readers, rows, strict=True):
            # A reader that failed to open says so here only: it holds no records.
            if reader.num_records() != count:
                raise DataError(f"{path}: missing or damaged; {count} records were written to it")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, place: int) -> bytes:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[bytes]:
        """The records at `places`, in that order.

        Raises:
          IndexError: a place is outside [0, len).
          DataError: a shard can't be read.
        """
        if places and not 0 <= min(places) <= max(places) < len(self):
            raise IndexError(f"places {min(places)} to {max(places)} of {len(self)} records")
        wanted: dict[int, list[int]] = defaultdict(list)
        for i, shard in enumerate(np.searchsorted(self._ends, places, side="right").tolist()):
            wanted[shard].append(i)
        found: list[bytes] = [b""] * len(places)
        for shard, members in wanted.items():
            first = int(self._ends[shard]) - self._rows[shard]
            try:
                records = self._readers[shard].read([places[i] - first for i in members])
            except RuntimeError as error:  # array_record knows no other kind
                raise DataError(f"{self._paths[shard]}: can't be read ({error})") from error
            for i, record in zip(members, records, strict=True):
                found[i] = record
        return found

    def __reduce__(self) -> tuple[type, tuple[list[str], list[int]]]:
        return type(self), (self._paths, self._rows)  # readers are opened anew in another process


class BlockStore:
    """A data set's folder, seen from the reading side.

    Attributes:
      info: dataset.json.
    """

    def __init__(self, dataset: PathLike, blocks: str = "blocks"):
        self.dataset = as_path(dataset)
        self.info: DatasetInfo = load_dataset(self.dataset / "dataset.json")
        self._blocks = self.dataset / blocks

    def folder(self, block: int) -> epath.Path:
        return self._blocks / f"block-{block:05d}"

    def has(self, block: int) -> bool:
        """Whether the block is finished: its manifest is in place."""
        return (self.folder(block) / "manifest.json").exists()

    def finished(self) -> list[int]:
        """Indices of all finished blocks, ascending."""
        if not self._blocks.exists():
            return []
        names = (_BLOCK_NAME.fullmatch(path.name) for path in self._blocks.iterdir())
        return sorted(block for name in names if name and self.has(block := int(name[1])))

    def manifest(self, block: int) -> Manifest:
        """The block's manifest, checked against the data set.

        Raises:
          DataError: missing, damaged, or made with another tokenizer or sequence length than dataset.json says.
        """
        path = self.folder(block) / "manifest.json"
        manifest = load_manifest(path)
        if manifest.tokenizer_digest != self.info.tokenizer_digest:
            raise DataError(
                f"{path}: made with tokenizer {manifest.tokenizer_digest[:12]}, but this data set's is "
                f"{self.info.tokenizer_digest[:12]}; remove the block and produce it again"
            )
        if manifest.seq_len != self.info.seq_len or manifest.block != block:
            raise DataError(
                f"{path}: block {manifest.block} with seq_len {manifest.seq_len}; "
                f"expected block {block} with {self.info.seq_len}"
            )
        return manifest

    def verify(self, block: int) -> Manifest:
        """Compares every shard with its checksum and returns the manifest.

        Raises:
          DamagedBlockError: a shard is missing, or its bytes are not those that were written.
        """
        manifest = self.manifest(block)
        for shard in manifest.shards:
            path = self.folder(block) / shard.file
            if not path.exists():
                raise DamagedBlockError(f"{path}: the manifest names this shard, but it is not there")
            if file_digest(path) != shard.sha256:
                raise DamagedBlockError(f"{path}: damaged (its SHA-256 is not the manifest's)")
        return manifest

    def draw(self, block: int) -> int:
        """How often the data process was asked to make `block` anew, of other documents (maxlm rollback --redraw)."""
        return sum(first <= block for first in self.redraws())

    def redraws(self) -> list[int]:
        """The first block of each such wish: all from it on are meant."""
        events = Journal(self.dataset / "journal.jsonl").read()
        return [int(event["from_block"]) for event in events if event["event"] == "redraw"]

    def ready(self, block: int) -> bool:
        """Whether the block is finished, and not one that is to be made anew."""
        return self.has(block) and self.manifest(block).draw >= self.draw(block)

    def set_aside(self, block: int) -> epath.Path:
        """Moves a block to DATASET/damaged/, where nobody looks for it; returns where it is.

        Raises:
          DataError: it can't be moved.
        """
        target = self.dataset / "damaged" / f"block-{block:05d}-{time.time_ns():x}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.folder(block).rename(target)
        except OSError as error:
            raise DataError(
                f"{self.folder(block)}: damaged, and can't be set aside ({error}); remove it and let the data process "
                "write it again, or roll back with --skip"
            ) from error
        return target

    def source(self, block: int, length: int = 0) -> Records:
        """Random access to the records (bytes) of the block's rows of `length`; 0: the data set's seq_len.

        Raises:
          DataError: a shard is missing or damaged.
        """
        length = length or self.info.seq_len
        shards = [shard for shard in self.manifest(block).shards if shard.seq_len == length]
        paths = [os.fspath(self.folder(block) / shard.file) for shard in shards]
        return Records(paths, [shard.rows for shard in shards])


def skips(dataset: PathLike) -> set[tuple[int, str]]:
    """(block, training run) of each block that a run leaves out and has not taken back, by DATASET/journal.jsonl.

    Raises:
      DataError: a skip without a block's number.
    """
    journal = Journal(as_path(dataset) / "journal.jsonl")
    skipped: set[tuple[int, str]] = set()
    for event in journal.read():
        if event["event"] not in ("skip", "unskip"):
            continue
        block, reader = event.get("block"), str(event.get("reader"))
        if not isinstance(block, int):
            raise DataError(f"{journal.path}: a skip without the number of a block: {event}")
        if event["event"] == "skip":
            skipped.add((block, reader))
        else:
            skipped.discard((block, reader))
    return skipped


def tell_skips(dataset: PathLike, reader: str, blocks: Set[int]) -> None:
    """Writes for the data process that the run `reader` leaves out these blocks and no others, if that is news."""
    events, known = Journal(as_path(dataset) / "journal.jsonl"), {b for b, by in skips(dataset) if by == reader}
    for block in sorted(known - blocks):
        events.append("unskip", block=block, reader=reader)
    for block in sorted(blocks - known):
        events.append("skip", block=block, reader=reader)


@dataclass(frozen=True)
class ReaderPosition:
    """Where a training run stands in a data set, as it says itself in DATASET/readers."""

    block: int  # that it reads, or waits for
    finished: bool
    oldest: int = 0  # the first block that it would read again if it went back to its oldest checkpoint


def report_progress(dataset: PathLike, reader: str, position: ReaderPosition) -> None:
    """Tells the data process where the training run `reader` is, so that it stays ahead of it."""
    folder = as_path(dataset) / "readers"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{reader}.json", asdict(position))


def last_report_s(dataset: PathLike) -> float:
    """When a training run last said where it is, in seconds of time.time(); 0 if none ever did."""
    folder = as_path(dataset) / "readers"
    return max((path.stat().mtime for path in folder.glob("*.json")), default=0.0) if folder.exists() else 0.0


def reading_positions(dataset: PathLike) -> dict[str, ReaderPosition]:
    """Where each training run stands."""
    folder = as_path(dataset) / "readers"
    positions = {}
    for path in sorted(folder.glob("*.json")) if folder.exists() else []:
        try:
            value = json.loads(path.read_text())
            oldest = int(value.get("oldest", 0))
            positions[Path(path).stem] = ReaderPosition(int(value["block"]), bool(value["finished"]), oldest)
        except FileNotFoundError:  # removed since it was listed
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not a reader's position ({error}); remove it") from error
    return positions
