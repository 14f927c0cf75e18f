"""Paths that may be local or in a bucket (gs://, s3://), and writes that are either whole or absent."""

import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from etils import epath

from maxlm.errors import DataError, UserError

PathLike = str | os.PathLike[str]
# What is parsed as one JSON value, or as a tokenizer, takes some tens of times its size while that is done.
MOST_BYTES = 64 << 20
_MOST_LEVELS = 100  # of lists and objects in one another; what walks through them may then call itself


def as_path(path: PathLike) -> epath.Path:
    """`path` as an epath.Path; a local one is made absolute, since orbax and tensorstore insist on it."""
    path = epath.Path(path)
    return path if "://" in os.fspath(path) else epath.Path(os.path.abspath(path))


def is_local(path: PathLike) -> bool:
    return "://" not in os.fspath(path)


def write_atomic(path: PathLike, data: str | bytes) -> None:
    """Writes a whole file or none: beside it, then renamed. Buckets publish an object whole by themselves."""
    path = as_path(path)
    raw = data.encode() if isinstance(data, str) else data
    if not is_local(path):
        path.write_bytes(raw)
        return
    temporary = f"{os.fspath(path)}.tmp-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):  # only if something went wrong
            os.unlink(temporary)
    sync_directory(path.parent)


def sync_directory(path: PathLike) -> None:
    """Makes a rename inside a local directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: PathLike, value: Any) -> None:
    """Writes `value` as readable JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:  # half a character, which only an escape can carry
            text = json.dumps(value, indent=2)
    write_atomic(path, text + "\n")


def is_regular(path: PathLike) -> bool:
    """Whether `path` is a file whose reading ends: no folder, no pipe, no device. Objects in a bucket all are."""
    return not is_local(path) or (os.path.exists(path) and stat.S_ISREG(os.stat(path).st_mode))


def read_whole(path: PathLike, what: str, most_bytes: int | None = MOST_BYTES) -> bytes:
    """The bytes of a file that others may have made; `what` names it in errors, `most_bytes` None means any size.

    Raises:
      DataError: the file is missing, is no regular file (a pipe would be waited for, and a device has no end), is
        larger than `most_bytes`, or may not be read.
    """
    path = as_path(path)
    try:
        size = os.stat(path).st_size if is_local(path) else path.stat().length
        if not is_regular(path):
            raise DataError(f"{path}: not a regular file ({what})")
        if most_bytes is not None and size > most_bytes:
            raise DataError(f"{path}: {size:,} bytes; {what} has {most_bytes:,} at most")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file ({what})") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({what}): {error.strerror or error}") from error


def parse_json(raw: bytes, path: object, what: str) -> Any:
    """The JSON value that a file's bytes are.

    Raises:
      DataError: it is none, or one within another within another, too deep for us.
    """
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({what}): {error}") from error
    level: list[Any] = [value]
    for _ in range(_MOST_LEVELS):
        level = [item for held in level for item in _held_by(held)]
        if not level:
            return value
    raise DataError(f"{path}: more than {_MOST_LEVELS} lists or objects in one another ({what})")


def _held_by(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def read_json(path: PathLike, what: str) -> dict[str, Any]:
    """Reads a JSON object; `what` names it in errors.

    Raises:
      DataError: the file can't be read (see `read_whole`), is not JSON, or is not an object.
    """
    value = parse_json(read_whole(path, what), path, what)
    if not isinstance(value, dict):
        raise DataError(f"{path}: {what} should be a JSON object, found {type(value).__name__}")
    return value


@contextmanager
def exclusive(path: PathLike, taken: str) -> Iterator[None]:
    """Holds a lock file for as long as the block runs; the system frees it however the process ends.

    Raises:
      UserError: another process holds it; the message is `taken`. In a bucket there are no locks, and nothing is held.
    """
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not is_local(path):
        yield
        return
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(taken) from error
        yield
