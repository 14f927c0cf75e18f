"""What there is to read: every source of a config as a list of units, in an order that never depends on the disk."""

import heapq
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_pipeline.config import SourceConfig
from data_pipeline.ingest import encodings, storage
from data_pipeline.ingest.storage import COMPRESSIONS
from maxlm.errors import ConfigError, DataError

# Programming languages by file name. What isn't here and isn't prose is set aside as `unknown_file_type`.
CODE_SUFFIXES = {
    ".py": "python", ".pyi": "python", ".pyx": "cython", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp",
    ".cxx": "cpp", ".hpp": "cpp", ".hh": "cpp", ".cu": "cuda", ".cuh": "cuda", ".rs": "rust", ".go": "go",
    ".java": "java", ".kt": "kotlin", ".scala": "scala", ".js": "javascript", ".mjs": "javascript",
    ".jsx": "javascript", ".ts": "typescript", ".tsx": "typescript", ".rb": "ruby", ".php": "php", ".pl": "perl",
    ".swift": "swift", ".m": "objective-c", ".cs": "csharp", ".hs": "haskell", ".ml": "ocaml", ".ex": "elixir",
    ".erl": "erlang", ".clj": "clojure", ".lua": "lua", ".r": "r", ".jl": "julia", ".f90": "fortran",
    ".sh": "shell", ".bash": "shell", ".sql": "sql", ".zig": "zig", ".dart": "dart", ".proto": "protobuf",
}  # fmt: skip
TEXT_SUFFIXES = {".txt", ".md", ".mdx", ".rst", ".tex"}
# Files of many documents, and pages.
ROW_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv",
    ".warc": "warc", ".wet": "warc",
}  # fmt: skip
PAGE_SUFFIXES = {".html": "html", ".htm": "html", ".xhtml": "html"}
UNKNOWN = "unknown"

# A file of rows that holds at least this much is shared out among the partitions.
_SPLIT_BYTES = 1_000_000
# A share of a file that can't be entered in its middle reads all of it; so it gets no more shares than make each of
# them this large, or than this many.
_STREAM_SHARE_BYTES, _STREAM_SHARES = 1 << 28, 8
_MIN_PARTITIONS = 8
PARTITION_BYTES = 1 << 26  # of text to a partition, where their number is made by the size of the input
# Bytes of text for a byte of file, roughly: packed text is a third or a quarter of itself, pages are mostly markup.
_PACKED, _COLUMNS, _MARKUP = 4, 3, 0.2


@dataclass(frozen=True)
class Unit:
    """One file to read, or a share of its rows.

    A share is every `step`-th row from row `first` on; or, where a file can be entered in its middle, what begins from
    `start` up to `end`: a byte of JSON lines, a row of Parquet.
    """

    file: str
    kind: str  # the reader, by its name in readers.READERS
    source: str
    domain: str = "auto"
    options: SourceConfig = SourceConfig()
    first: int = 0
    step: int = 1
    start: int = 0
    end: int = 0  # 0: to the end
    size_bytes: int = 0  # of this unit's text, about
    changed_ns: int = 0  # the file's time of change: with its size, what tells whether it's the same
    fault: str = ""  # why the file can't be opened, as listing it showed; "": it seems to be one


def files_of(source: SourceConfig) -> list[Unit]:
    """The files that a source's path names (a folder with all below it, a file, or a glob), sorted.

    Raises:
      ConfigError: its options can't be.
      DataError: nothing is there.
    """
    _check(source)
    path = os.path.expanduser(source.path)
    root, files = storage.list_files(path)
    is_file = files == [path]
    if is_file and source.format == "auto" and kind_of(path) == UNKNOWN:
        raise DataError(f"{path}: unknown type of file; {_known_types()}")
    if not files and not storage.is_remote(path) and os.path.isdir(path):
        raise DataError(f"{source.path}: the folder holds no files; {_known_types()}")
    if not files:
        raise DataError(f"{source.path}: no such file or folder; mend config.sources, or leave it to 'machine'")
    base = root.rstrip("/").rpartition("/")[2] if storage.is_remote(path) else Path(os.path.abspath(root)).name
    name = source.name or (Path(path).name.split(".")[0] if is_file else base)
    return [_unit(file, root, storage.shown(name), source) for file in files]


def _check(source: SourceConfig) -> None:
    where = f"config.sources, {source.path}"
    if source.encoding and not encodings.known(source.encoding):
        raise ConfigError(f"{where}: no encoding {source.encoding!r}; Python's names are meant: gb18030, cp1252, …")
    if source.text_key and "text" in source.columns:
        raise ConfigError(f"{where}: text_key and columns.text say the same thing: leave one out")
    if source.max_row_bytes < 1:
        raise ConfigError(f"{where}: max_row_bytes must be positive, found {source.max_row_bytes}")


def _unit(file: str, root: str, name: str, source: SourceConfig) -> Unit:
    below = storage.shown(os.path.relpath(file, root) if root else file).split("/")
    status = storage.describe(file)
    kind = kind_of(file) if source.format == "auto" else source.format
    return Unit(
        file=file,
        kind=kind,
        source=f"{name}/{below[0]}" if len(below) > 1 else name,
        domain=source.domain,
        options=source,
        size_bytes=int(status.size_bytes * _text_share(file, kind)),
        changed_ns=status.changed_ns,
        fault=status.fault,
    )


def _text_share(file: str, kind: str) -> float:
    packed = _PACKED if Path(file).suffix.lower() in COMPRESSIONS else 1
    return packed * {"parquet": _COLUMNS, "html": _MARKUP, "warc": _MARKUP}.get(kind, 1)


def kind_of(file: str) -> str:
    """The reader that a file's name asks for, compression suffixes aside."""
    suffix = plain_suffix(file)
    if suffix in CODE_SUFFIXES:
        return "code"
    return "text" if suffix in TEXT_SUFFIXES else {**ROW_SUFFIXES, **PAGE_SUFFIXES}.get(suffix, UNKNOWN)


def plain_suffix(file: str) -> str:
    """The last suffix of a file name that isn't a compression, in lower case."""
    suffixes = [suffix.lower() for suffix in Path(file).suffixes]
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _known_types() -> str:
    known = ", ".join(sorted({*TEXT_SUFFIXES, *ROW_SUFFIXES, *PAGE_SUFFIXES}))
    return f"read are {known} and source code, also as .gz .bz2 .xz .zst"


def count_partitions(units: Sequence[Unit]) -> int:
    """As many partitions as make each about 64 MB of text; the same input gives the same number."""
    return max(_MIN_PARTITIONS, math.ceil(sum(unit.size_bytes for unit in units) / PARTITION_BYTES))


def share_out(units: list[Unit], partitions: int) -> list[list[Unit]]:
    """Units for each of `partitions`, about equal in bytes; the same units give the same shares."""
    parts = [part for unit in units for part in _split(unit, partitions)]
    heaviest_first = sorted(range(len(parts)), key=lambda i: (-parts[i].size_bytes, i))
    loads = [(0, i) for i in range(partitions)]  # a heap
    shares: list[list[int]] = [[] for _ in range(partitions)]
    for i in heaviest_first:
        load, lightest = loads[0]
        heapq.heapreplace(loads, (load + parts[i].size_bytes + 1, lightest))  # + 1, so that empty files spread too
        shares[lightest].append(i)
    return [[parts[i] for i in sorted(share)] for share in shares]


def _split(unit: Unit, partitions: int) -> list[Unit]:
    has_rows = unit.kind in ROW_SUFFIXES.values() or (unit.kind == "text" and unit.options.split)
    if not has_rows or unit.size_bytes < _SPLIT_BYTES or unit.fault:
        return [unit]
    if places := _places(unit, partitions):
        size_bytes = unit.size_bytes // partitions
        return [
            replace(unit, start=start, end=end, size_bytes=size_bytes)
            for start, end in itertools.pairwise(places)
            if start < end
        ]
    count = min(partitions, max(_STREAM_SHARES, math.ceil(unit.size_bytes / _STREAM_SHARE_BYTES)))
    size_bytes = unit.size_bytes // count
    return [replace(unit, first=i, step=count, size_bytes=size_bytes) for i in range(count)]


def _places(unit: Unit, partitions: int) -> list[int]:
    """Where the shares of a file begin that can be entered in its middle, and where the last one ends; []: it can't."""
    if Path(unit.file).suffix.lower() in COMPRESSIONS:
        return []
    if unit.kind == "parquet":
        size = storage.parquet_rows(unit.file)
    elif unit.kind == "jsonl" and _has_plain_newlines(unit):
        size = storage.describe(unit.file).size_bytes
    else:
        return []
    return [size * i // partitions for i in range(partitions + 1)] if size else []


def _has_plain_newlines(unit: Unit) -> bool:
    """Whether a newline is the byte 10 and nothing else is, which UTF-16 and UTF-32 don't keep to."""
    if "utf" in unit.options.encoding and not unit.options.encoding.startswith(("utf-8", "utf8", "utf_8")):
        return False
    try:
        with storage.open_raw(unit.file) as stream:
            return encodings.by_mark(stream.read(4)) in ("", "utf-8-sig") and not storage.disguise(unit.file)
    except OSError:  # gone since it was listed: whoever reads it will say so
        return False
