"""What there is to read: every source of a config as a list of units, in an order that never depends on the disk."""

import glob
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from data_pipeline.config import SourceConfig
from maxlm.errors import DataError

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
ROW_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet"}
COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst"}
UNKNOWN = "unknown"

# A file of rows that is at least this large is shared out among the partitions, row by row.
_SPLIT_BYTES = 1_000_000


@dataclass(frozen=True)
class Unit:
    """One file to read, or every `step`-th row of one from row `first` on."""

    file: str
    kind: str  # the reader, by its name in readers.READERS
    source: str
    domain: str = "auto"
    text_key: str = ""
    first: int = 0
    step: int = 1
    size_bytes: int = 0  # this unit's share of the file


def files_of(source: SourceConfig) -> list[Unit]:
    """The files that a source's path names (a folder with all below it, a file, or a glob), sorted.

    Raises:
      DataError: nothing is there.
    """
    path = os.path.expanduser(source.path)
    if os.path.isdir(path):
        root, files = Path(path), list(walk(path))
    elif os.path.isfile(path):
        root, files = Path(path).parent, [path]
        if kind_of(path) == UNKNOWN:
            raise DataError(f"{path}: unknown type of file; {_known_types()}")
    else:
        root, files = Path(_fixed_part(path)), sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
        if not files:
            raise DataError(f"{source.path}: no such file or folder; mend config.sources, or leave it to 'machine'")
    if not files:
        raise DataError(f"{source.path}: the folder holds no files; {_known_types()}")
    name = source.name or Path(os.path.abspath(root if root.name else path)).name
    if os.path.isfile(path) and not source.name:
        name = Path(path).name.split(".")[0]
    return [_unit(Path(file), root, name, source) for file in files]


def _unit(file: Path, root: Path, name: str, source: SourceConfig) -> Unit:
    below = file.relative_to(root).parts
    return Unit(
        file=str(file),
        kind=kind_of(str(file)),
        source=f"{name}/{below[0]}" if len(below) > 1 else name,
        domain=source.domain,
        text_key=source.text_key,
        size_bytes=file.stat().st_size,
    )


def walk(folder: str, left_out: Container[str] = ()) -> Iterator[str]:
    """All files below `folder` in sorted order, but for folders named in `left_out`.

    Hidden ones (.git and the like) and byte code are no text.
    """
    for here, folders, files in os.walk(folder):
        shown = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        folders[:] = sorted(name for name in shown if name not in left_out)
        yield from (os.path.join(here, name) for name in sorted(files) if not name.startswith("."))


def _fixed_part(pattern: str) -> str:
    """The folder of a glob up to its first wildcard."""
    return os.path.dirname(pattern[: min(pattern.find(c) % (len(pattern) + 1) for c in "*?[")])


def kind_of(file: str) -> str:
    """The reader that a file's name asks for, compression suffixes aside."""
    suffix = plain_suffix(file)
    if suffix in CODE_SUFFIXES:
        return "code"
    return "text" if suffix in TEXT_SUFFIXES else ROW_SUFFIXES.get(suffix, UNKNOWN)


def plain_suffix(file: str) -> str:
    """The last suffix of a file name that isn't a compression, in lower case."""
    suffixes = [suffix.lower() for suffix in Path(file).suffixes]
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _known_types() -> str:
    known = ", ".join(sorted(TEXT_SUFFIXES | ROW_SUFFIXES.keys()))
    return f"read are {known} and source code, also as .gz .bz2 .xz .zst"


def share_out(units: list[Unit], partitions: int) -> list[list[Unit]]:
    """Units for each of `partitions`, about equal in bytes; the same units give the same shares."""
    parts = [part for unit in units for part in _split(unit, partitions)]
    heaviest_first = sorted(range(len(parts)), key=lambda i: (-parts[i].size_bytes, i))
    loads, shares = [0] * partitions, [[] for _ in range(partitions)]
    for i in heaviest_first:
        lightest = loads.index(min(loads))
        loads[lightest] += parts[i].size_bytes + 1  # + 1, so that empty files spread too
        shares[lightest].append(i)
    return [[parts[i] for i in sorted(share)] for share in shares]


def _split(unit: Unit, partitions: int) -> list[Unit]:
    if unit.kind not in ROW_SUFFIXES.values() or unit.size_bytes < _SPLIT_BYTES:
        return [unit]
    size_bytes = unit.size_bytes // partitions
    return [replace(unit, first=i, step=partitions, size_bytes=size_bytes) for i in range(partitions)]
