"""The door to raw input: local files and buckets (gs://, s3://) listed, described and opened in one way.

Buckets go through pyarrow.fs, which the data side needs anyway: no other package, and credentials from the environment
as the vendors' own tools take them. Any URI that pyarrow.fs knows will do (file://, hdfs://).
"""

import bz2
import errno
import fnmatch
import glob
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from maxlm.errors import DataError

COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst"}
DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error)  # what unpacking raises
# What a file begins with, whatever it's called: content that the reader its name asks for would make nonsense of.
_MAGIC = {
    b"PAR1": ".parquet", b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip", b"%PDF-": ".pdf", b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"SQLite format 3": ".sqlite",
}  # fmt: skip
_WILD = "*?["
# Faults of the one file: it's set aside. Any other may pass, and is no reason to go on with half of the input.
OWN_FAULTS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENOTDIR, errno.ENXIO}


@dataclass(frozen=True)
class Stat:
    """A file's size and its time of change; `fault`: why it can't be read, "" where it seems to."""

    size_bytes: int
    changed_ns: int
    fault: str = ""


def is_remote(path: str) -> bool:
    return "://" in path


def shown(path: str) -> str:
    """A path as text that is surely UTF-8; file names may be any bytes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def describe(file: str) -> Stat:
    """What is known of a file without opening it; a file that is gone or no file has a fault, and size 0.

    Raises:
      DataError: the bucket can't be asked.
    """
    if is_remote(file):
        system, path = _system(file)
        with _Asking(file):
            info = system.get_file_info(path)
        is_file = info.type == fs.FileType.File
        return Stat(info.size or 0, info.mtime_ns or 0) if is_file else Stat(0, 0, "no such object")
    try:
        status = os.stat(file)
    except OSError as error:
        return Stat(0, 0, error.strerror or str(error))
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return Stat(0, 0, "not a regular file")
    return Stat(status.st_size, status.st_mtime_ns)


def open_raw(file: str) -> io.BufferedIOBase:
    """Opens a file's bytes as they are stored, at their beginning; one can seek in them.

    Raises:
      DataError: reading fails for a reason that isn't the file's own (network, disk): run again.
      OSError: the file is gone, closed to us, or no file.
    """
    if is_remote(file):
        system, path = _system(file)
        with _Asking(file):
            source = system.open_input_file(path)
        return io.BufferedReader(_Reporting(source, file), 1 << 20)
    if fault := describe(file).fault:
        raise FileNotFoundError(errno.ENOENT, fault)
    with _Asking(file):
        return io.BufferedReader(_Reporting(open(file, "rb", buffering=0), file), 1 << 18)


@contextmanager
def open_bytes(file: str) -> Iterator[io.BufferedIOBase]:
    """A file's content, unpacked as its last suffix says. Raises what `open_raw` does."""
    with open_raw(file) as raw:
        packed: Any = raw
        match Path(file).suffix.lower():
            case ".gz":
                packed = gzip.GzipFile(fileobj=raw)
            case ".bz2":
                packed = bz2.BZ2File(raw)
            case ".xz":
                packed = lzma.LZMAFile(cast(Any, raw))
            case ".zst":
                packed = io.BufferedReader(cast(Any, pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")))
        with packed as stream:
            yield stream


def disguise(file: str) -> str:
    """The suffix that a file's first bytes ask for, where its name has another; "": it's what it's called.

    Raises what `open_raw` does.
    """
    with open_raw(file) as stream:
        head = stream.read(max(map(len, _MAGIC)))
    suffix = next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), "")
    return "" if suffix == Path(file).suffix.lower() else suffix


def parquet_rows(file: str) -> int:
    """The rows of an unpacked Parquet file, by its footer; 0 where it has none that can be read."""
    try:
        with open_raw(file) as stream:
            return pq.read_metadata(stream).num_rows
    except (pa.ArrowException, OSError):
        return 0


def list_files(path: str) -> tuple[str, list[str]]:
    """What a path names (a folder with all below it, a file, or a glob): the root, and the files, sorted.

    Raises:
      DataError: nothing is there, or a folder can't be listed.
    """
    if is_remote(path):
        return _list_remote(path.rstrip("/"))
    if os.path.isdir(path):
        return path, list(walk(path))
    if os.path.lexists(path):
        return os.path.dirname(path), [path]
    return _fixed_part(path), sorted(name for name in glob.glob(path, recursive=True) if not os.path.isdir(name))


def walk(folder: str, left_out: Container[str] = ()) -> Iterator[str]:
    """All files below `folder` in sorted order, but for folders named in `left_out`.

    Hidden ones (.git and the like) and byte code are no text. Links to folders are followed, each folder once.

    Raises:
      DataError: a folder can't be listed.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{shown(error.filename or folder)}: cannot be listed: {error.strerror}; mend its permissions")

    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        shown_folders = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        folders[:] = sorted(name for name in shown_folders if name not in left_out)
        yield from (os.path.join(here, name) for name in sorted(files) if not name.startswith("."))


def _list_remote(uri: str) -> tuple[str, list[str]]:
    fixed = uri if not any(c in uri for c in _WILD) else _fixed_part(uri)
    system, path = _system(fixed)
    prefix = fixed[: len(fixed) - len(path)] if fixed.endswith(path) else fixed.partition("://")[0] + "://"
    with _Asking(uri):
        info = system.get_file_info(path)
        if info.type == fs.FileType.File:
            return os.path.dirname(uri), [uri]
        if info.type == fs.FileType.NotFound:
            return fixed, []
        below = system.get_file_info(fs.FileSelector(path, recursive=True))
    found = sorted(prefix + entry.path for entry in below if entry.type == fs.FileType.File)
    if fixed != uri:
        return fixed, [file for file in found if _matches(file, uri)]
    hidden = len(fixed.rstrip("/")) + 1
    return fixed, [f for f in found if not any(p.startswith((".", "__pycache__")) for p in f[hidden:].split("/"))]


def _matches(file: str, pattern: str) -> bool:
    """Whether a glob means a file: ``*`` stays within a folder's name, ``**`` spans any number of folders.

    As in a shell, wildcards mean nothing hidden.
    """

    def fits(parts: list[str], wanted: list[str]) -> bool:
        if not wanted:
            return not parts
        if parts and parts[0].startswith(".") and not wanted[0].startswith("."):
            return wanted[0] == "**" and fits(parts, wanted[1:])
        if wanted[0] == "**":
            return fits(parts, wanted[1:]) or (bool(parts) and fits(parts[1:], wanted))
        return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and fits(parts[1:], wanted[1:])

    return fits(file.split("/"), pattern.split("/"))


def _fixed_part(pattern: str) -> str:
    """The folder of a glob up to its first wildcard."""
    return os.path.dirname(pattern[: min(pattern.find(c) % (len(pattern) + 1) for c in _WILD)])


def _system(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI, and the path in it."""
    scheme, _, rest = uri.partition("://")
    bucket = rest.partition("/")[0]
    system, root = _bucket(f"{scheme}://{bucket}")
    return system, root.rstrip("/") + rest[len(bucket) :]


@cache
def _bucket(uri: str) -> tuple[fs.FileSystem, str]:
    try:
        return fs.FileSystem.from_uri(uri if not uri.endswith("://") else f"{uri}/")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{uri}: cannot be reached: {' '.join(str(error).split())}") from error


class _Asking:
    """Turns what may pass (network, disk) into a DataError; what is a file's own fault stays an OSError."""

    def __init__(self, file: str):
        self.file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno not in OWN_FAULTS:
            why = " ".join(str(error.strerror or error).split())
            raise DataError(f"{shown(self.file)}: reading failed: {why}; run again, or take the file away") from error


class _Reporting(io.RawIOBase):
    """A file whose faults in reading are told from those of unpacking what was read."""

    def __init__(self, source: Any, file: str):
        self._source, self._file = source, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _Asking(self._file):
            return int(self._source.readinto(buffer))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with _Asking(self._file):
            self._source.seek(offset, whence)
            return int(self._source.tell())

    def tell(self) -> int:
        return int(self._source.tell())

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
