"""Benchmark files as items, and the index of their runs of words that documents are held against."""

import csv
import glob
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline import engine
from data_pipeline.config import DecontaminateConfig
from data_pipeline.decontamination import wordruns
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.units import plain_suffix
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike

# An item: its place in its file, how many different runs of it count, and the beginning of its longest string.
ITEM = pa.schema([("file", pa.string()), ("row", pa.int64()), ("runs", pa.int64()), ("text", pa.string())])
# Which items hold a run: sorted by run, then item; `length` in words; `plain`: at least half of them have letters.
RUN = pa.schema([("run", pa.uint64()), ("item", pa.int32()), ("length", pa.int32()), ("plain", pa.bool_())])
# What many items of a file share, and so doesn't count.
TEMPLATE = pa.schema([("file", pa.string()), ("items", pa.int64()), ("runs", pa.int64()), ("text", pa.string())])
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md")
_BATCH_CHARACTERS = 1_000_000
_MIN_TABLE_BITS = 21  # 256 KB: fits into a core's cache, and hardly anything passes by chance
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True)
class BenchmarkFile:
    path: str
    name: str  # the path below the part of the glob that has no wildcard: the same on every machine


@dataclass(frozen=True)
class Item:
    row: int  # in its file, from 0
    strings: tuple[str, ...]


@dataclass(frozen=True)
class Runs:
    """Runs of items, by column as in RUN."""

    run: np.ndarray
    item: np.ndarray
    length: np.ndarray
    plain: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Runs"]) -> "Runs":
        empty = cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool))
        columns = ([getattr(part, name) for part in (empty, *parts)] for name in RUN.names)
        return cls(*map(np.concatenate, columns))

    def take(self, chosen: np.ndarray) -> "Runs":
        return Runs(*(getattr(self, name)[chosen] for name in RUN.names))

    def table(self) -> pa.Table:
        """The runs in the order of an index."""
        ordered = self.take(np.lexsort((self.item, self.run)))
        columns = ordered.run, ordered.item.astype(np.int32), ordered.length.astype(np.int32), ordered.plain
        return pa.table(list(columns), schema=RUN)


def files(config: DecontaminateConfig) -> list[BenchmarkFile]:
    """The files that ``config.benchmarks`` names, sorted.

    Raises:
      ConfigError: a pattern names no file, or one of a type that nothing here reads.
    """
    found = {}
    for pattern in map(os.path.expanduser, config.benchmarks):
        pattern = os.path.join(pattern, "**/*") if os.path.isdir(pattern) else pattern
        root = os.path.dirname(pattern[: _wildcard(pattern)])
        paths = sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))
        known = [path for path in paths if plain_suffix(path) in SUFFIXES]
        if not known:
            what = f"{paths[0]}: unknown type of file" if paths else f"{pattern}: no such file"
            raise ConfigError(f"config.decontaminate.benchmarks: {what}; read are {', '.join(SUFFIXES)}")
        found |= {path: os.path.relpath(path, root or ".") for path in known}
    return [BenchmarkFile(path, name) for path, name in sorted(found.items(), key=lambda pair: pair[::-1])]


def _wildcard(pattern: str) -> int:
    return min((i for i in map(pattern.find, "*?[") if i >= 0), default=len(pattern))


def read_items(path: str, fields: Sequence[str] = ()) -> Iterator[Item]:
    """The items of a benchmark file with their strings (those under the keys `fields`, where such are given).

    Lines of JSON, rows of CSV or Parquet, members of a JSON list (or of the longest list of objects that a JSON
    object holds), blocks of text between blank lines.

    Raises:
      DataError: the file can't be read; names it.
    """
    try:
        with open_bytes(path) as stream:
            raw = stream.read()
        for row, value in enumerate(_values(raw, plain_suffix(path))):
            yield Item(row, tuple(_strings(value, frozenset(fields), not fields)))
    except (ValueError, RecursionError, EOFError, OSError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable benchmark file: {error}") from error


def _values(raw: bytes, suffix: str) -> Iterator[Any]:
    if suffix == ".parquet":
        for batch in pq.ParquetFile(io.BytesIO(raw), pre_buffer=False).iter_batches(use_threads=False):
            yield from batch.to_pylist()
        return
    text = raw.decode("utf-8-sig")
    if suffix in (".jsonl", ".ndjson"):
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
    elif suffix == ".json":
        yield from _members(json.loads(text))
    elif suffix in (".csv", ".tsv"):
        csv.field_size_limit(len(text) + 1)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if suffix == ".tsv" else ",")
        header = next(rows, [])
        yield dict(enumerate(header))  # files without a header are common: MMLU's have none
        yield from (dict(zip([*header, *range(len(row))], row, strict=False)) for row in rows)
    else:
        yield from text.replace("\r\n", "\n").split("\n\n")


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        lists = [member for member in value.values() if isinstance(member, list) and member]
        lists = [members for members in lists if all(isinstance(member, dict) for member in members)]
        return max(lists, key=len, default=[value])
    return value if isinstance(value, list) else [value]


def _strings(value: Any, fields: frozenset[str], wanted: bool) -> Iterator[str]:
    if isinstance(value, str):
        if wanted and value.strip():
            yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _strings(member, fields, wanted or key in fields)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _strings(member, fields, wanted)


def build(config: DecontaminateConfig, found: Sequence[BenchmarkFile]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Templates, items and runs of benchmark files.

    Raises:
      DataError: a file can't be read, or none holds a string that is long enough.
    """
    files_of_items, rows, texts, templates = [], [], [], []
    parts: list[Runs] = []
    for file in found:
        items = list(read_items(file.path, config.fields))
        runs = find_runs(config, items)
        counted = _few_items(config, runs)
        if not counted.all():
            templates.append(_template(file, items, runs.take(~counted)))
        runs = runs.take(counted)
        parts.append(replace(runs, item=runs.item + len(rows)))
        files_of_items += [file.name] * len(items)
        rows += [item.row for item in items]
        texts += [max(item.strings, key=len, default="")[:_SHOWN_CHARACTERS] for item in items]
    runs = Runs.joined(parts)
    if not len(runs.run):
        keys = f" under {', '.join(config.fields)}" if config.fields else ""
        raise DataError(f"config.decontaminate.benchmarks: no file holds text{keys} that is long enough to look for")
    counts = np.bincount(runs.item, minlength=len(rows))
    return (
        pa.Table.from_pylist(templates, schema=TEMPLATE),
        pa.table([files_of_items, rows, counts, texts], schema=ITEM),
        runs.table(),
    )


def find_runs(config: DecontaminateConfig, items: Sequence[Item]) -> Runs:
    """The different runs of each item, in the order of an index."""
    found: list[Runs] = []
    for numbers in _batches(items):
        strings = [(i, string) for i in numbers for string in items[i].strings]
        words = wordruns.words_of([string for _, string in strings])
        owner = np.array([i for i, _ in strings], np.int64)
        parts = []
        for length, start, hashes in wordruns.runs(words, sorted({config.ngram, config.ngram_characters})):
            mostly = _more_than_half(words.unspaced, start, length)
            wanted = (mostly & (length == config.ngram_characters)) | (~mostly & (length == config.ngram))
            start = start[wanted]
            plain = ~_more_than_half(words.number, start, length)
            parts.append(Runs(hashes[wanted], owner[words.text[start]], np.full(len(start), length), plain))
        having = set(Runs.joined(parts).item.tolist())
        found += [*parts, *_whole(config, items, [i for i in numbers if i not in having and items[i].strings])]
    runs = Runs.joined(found)
    runs = runs.take(np.lexsort((runs.item, runs.run)))
    another = np.ones(len(runs.run), bool)
    another[1:] = (runs.run[1:] != runs.run[:-1]) | (runs.item[1:] != runs.item[:-1])
    return runs.take(another)


def _more_than_half(these: np.ndarray, start: np.ndarray, length: int | np.ndarray) -> np.ndarray:
    """Whether most words of runs are among `these`."""
    sums = np.cumsum(np.concatenate([[0], these]))
    return 2 * (sums[start + length] - sums[start]) > length


def _batches(items: Sequence[Item]) -> Iterator[range]:
    start, size = 0, 0
    for i, item in enumerate(items):
        size += sum(map(len, item.strings))
        if size > _BATCH_CHARACTERS or i + 1 == len(items):
            yield range(start, i + 1)
            start, size = i + 1, 0


def _whole(config: DecontaminateConfig, items: Sequence[Item], numbers: Sequence[int]) -> Iterator[Runs]:
    """Of items that have no run, the longest string of each as one, where it is long enough."""
    words = wordruns.words_of([max(items[i].strings, key=len) for i in numbers])
    counts = np.bincount(words.text, minlength=len(numbers))
    begin = np.cumsum(counts) - counts
    least = np.where(_more_than_half(words.unspaced, begin, counts), config.min_characters, config.min_words)
    plain = ~_more_than_half(words.number, begin, counts)
    lengths = np.unique(counts[(counts >= least) & (counts > 0)]).tolist()
    owner = np.array(numbers, np.int64)
    for length, start, hashes in wordruns.runs(words, lengths):
        string = words.text[start]
        chosen = (begin[string] == start) & (counts[string] == length) & (least[string] <= length)
        string = string[chosen]
        yield Runs(hashes[chosen], owner[string], np.full(len(string), length), plain[string])


def _few_items(config: DecontaminateConfig, runs: Runs) -> np.ndarray:
    """Which runs stand in few enough items to tell these apart."""
    _, group, counts = np.unique(runs.run, return_inverse=True, return_counts=True)
    return counts[group] <= config.max_items


def _template(file: BenchmarkFile, items: Sequence[Item], runs: Runs) -> dict[str, Any]:
    """What to tell of the runs that many items of a file share, with the most frequent one's text."""
    different, first, counts = np.unique(runs.run, return_index=True, return_counts=True)
    most = int(first[np.argmax(counts)])
    strings = items[int(runs.item[most])].strings
    words = wordruns.words_of(strings)
    text = ""
    for size, start, hashes in wordruns.runs(words, [int(runs.length[most])]):
        begin = int(start[np.flatnonzero(hashes == runs.run[most])[0]])
        text = strings[words.text[begin]][words.start[begin] : words.end[begin + size - 1]]
    return {"file": file.name, "items": int(counts.max()), "runs": len(different), "text": text}


class Index:
    """The runs of all items, to look up many at once."""

    def __init__(self, runs: pa.Table) -> None:
        run, self.items, length = (runs[name].to_numpy() for name in ("run", "item", "length"))
        self.runs, self._starts = np.unique(run, return_index=True)
        self.plain = runs["plain"].to_numpy()[self._starts]
        self._length = length[self._starts]
        self._ends = np.append(self._starts[1:], len(run))
        self.lengths = np.unique(length).tolist()

    @cached_property
    def _present(self) -> dict[int, tuple[np.ndarray, np.uint64]]:
        """For each length, a bit for each beginning of a hash: whether any run of the length begins so.

        That tells nearly all that is not here at one look, into tables that are small but for one or two lengths.
        """
        tables = {}
        for length in self.lengths:
            runs = self.runs[self._length == length]
            bits = min(32, max(_MIN_TABLE_BITS, (len(runs) * 32).bit_length()))
            shift = np.uint64(64 - bits)
            present = np.zeros(1 << bits, bool)
            present[runs >> shift] = True
            tables[length] = np.packbits(present, bitorder="little"), shift
        return tables

    def find(self, hashes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Which of `hashes`, of runs of `length` words, are runs of an item, and the runs' numbers."""
        present, shift = self._present[length]
        place = hashes >> shift
        bit = present[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8)
        likely = np.flatnonzero(bit & 1)
        place = np.minimum(np.searchsorted(self.runs, hashes[likely]), len(self.runs) - 1)
        right = self.runs[place] == hashes[likely]
        return likely[right], place[right]

    def items_of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The items that hold each of these runs (by number): which of `places`, and which item."""
        counts = self._ends[places] - self._starts[places]
        which = np.repeat(np.arange(len(places)), counts)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        return which, self.items[self._starts[places][which] + offset]


@lru_cache(maxsize=1)  # a worker judges many partitions by one index
def load(path: PathLike, digest: str) -> Index:
    """The index that stands in a partition; `digest` tells it from others that stood there before."""
    return Index(engine.read_partition(path))
