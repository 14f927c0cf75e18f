"""A process that dies at its n-th change to the disk, within this process.

From that change on nothing more is written, as if the process were gone: what would tidy up after an error fails
likewise, and threads that outlive it stay dead. Real processes really killed are in injector.py; this is for thousands
of deaths.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_CHANGES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "fsync")
_TORN_BYTES = 9  # that a write loses which was not yet safe
_originals = {name: getattr(os, name) for name in _CHANGES}
_ghosts: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # threads of processes that died


class Killed(BaseException):
    """Raised where the process would be gone. No error: nothing may handle it."""


class _Life:
    """Changes to the disk that are left until death."""

    def __init__(self, changes: int):
        self.left, self.lock = changes, threading.Lock()

    def spend(self) -> int:
        with self.lock:
            self.left -= 1
            return self.left


_life: _Life | None = None


def _wrapped(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() in _ghosts:
            raise Killed
        if _life is not None and (left := _life.spend()) <= 0:
            if name == "fsync" and left == 0:
                _tear(args[0])
            raise Killed
        return _originals[name](*args, **kwargs)

    return call


@contextmanager
def dying_at(change: int) -> Iterator[Callable[[], bool]]:
    """Within, the `change`-th change to the disk (from 1 on) and all after it do not happen. Yields whether it died."""
    global _life
    life, before = _Life(change), set(threading.enumerate())
    for name in _CHANGES:
        setattr(os, name, _wrapped(name))  # for good: ghosts may wake up at any time
    _life = life
    try:
        yield lambda: life.left <= 0
    finally:
        if life.left <= 0:
            _ghosts.update(set(threading.enumerate()) - before)
        _life = None


def _tear(descriptor: int) -> None:
    """The end of what was written does not reach the disk."""
    try:
        size = os.fstat(descriptor).st_size
        if size > _TORN_BYTES:
            os.ftruncate(descriptor, size - _TORN_BYTES)
    except OSError:  # a folder, or open for reading
        return
