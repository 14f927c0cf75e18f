"""Paths that may be local or in a bucket (gs://, s3://), and writes that are either whole or absent."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etils import epath

from maxlm.errors import DataError, UserError

PathLike = str | os.PathLike[str]


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
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: PathLike, what: str) -> dict[str, Any]:
    """Reads a JSON object; `what` names it in errors.

    Raises:
      DataError: the file is missing, is not JSON, or is not an object.
    """
    path = as_path(path)
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file ({what})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({what}): {error}") from error
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
