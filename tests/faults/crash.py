"""A process that dies at its n-th change to the disk, within this process.

From that change on nothing more is written, in whatever thread, as if the process were gone: what would tidy up after
an error fails likewise. Real processes really killed are in injector.py; this is for thousands of deaths.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_CHANGES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "fsync")
_TORN_BYTES = 9  # that a write loses which was not yet safe


class Killed(BaseException):
    """Raised where the process would be gone."""


@contextmanager
def dying_at(change: int) -> Iterator[Callable[[], bool]]:
    """Within, the `change`-th change to the disk (from 1 on) and all after it do not happen. Yields whether it died."""
    count, lock, originals = 0, threading.Lock(), {name: getattr(os, name) for name in _CHANGES}

    def dies() -> bool:
        nonlocal count
        with lock:
            count += 1
            return count >= change

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if dies():
                if name == "fsync" and count == change:
                    _tear(args[0])
                raise Killed
            return originals[name](*args, **kwargs)

        return call

    for name in _CHANGES:
        setattr(os, name, wrapped(name))
    try:
        yield lambda: count >= change
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def _tear(descriptor: int) -> None:
    """The end of what was written does not reach the disk."""
    try:
        size = os.fstat(descriptor).st_size
        if size > _TORN_BYTES:
            os.ftruncate(descriptor, size - _TORN_BYTES)
    except OSError:  # a folder, or open for reading
        return
