"""SIGTERM and SIGINT as a request that the work looks at where it can be left."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818 -- a request, no error
    """Ends the work after a signal; its text names the signal."""


class StopSignal:
    """While it is entered, a first SIGTERM or SIGINT is noted; a second one acts as if this weren't here.

    Signals reach the main thread only; entered in another thread, this notes nothing.
    """

    def __init__(self) -> None:
        self._name = ""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def check(self) -> None:
        """Raises Stopped once a signal came."""
        if self._name:
            raise Stopped(self._name)

    def wait(self, seconds: float) -> float:
        """Sleeps, or raises Stopped as soon as a signal comes. Returns the seconds slept."""
        start = time.monotonic()
        while (left := start + seconds - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))
        self.check()
        return time.monotonic() - start

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._name = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
