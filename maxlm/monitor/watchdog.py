"""A thread that notices when a run does nothing any more, shows where it hangs, and ends it so that it can restart."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from maxlm.errors import EXIT_TRY_AGAIN
from maxlm.monitor.config import StuckConfig

_STDERR = 2
_LAST_WORDS_S = 5.0  # for the journal line, whose file may be what hangs


class Watchdog:
    """Ends the process, or warns, if `beat` is not called for `limit_s` seconds; from its first call on."""

    def __init__(self, config: StuckConfig, tell: Callable[[str, float], None]):
        """`tell`: writes (what was last done, seconds since) down somewhere; it may hang."""
        self._config, self._tell = config, tell
        self._last, self._doing = time.monotonic(), "starting"
        self._resting, self._ended, self._warned = False, threading.Event(), False
        self._thread: threading.Thread | None = None

    def beat(self, doing: str) -> None:
        """Something has been done; `doing`: what comes next, for the message."""
        self._last, self._doing, self._warned = time.monotonic(), doing, False
        if self._thread is None and self._config.policy != "off":
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """What happens inside may take as long as it likes."""
        self._resting = True
        try:
            yield
        finally:
            self._resting, self._last = False, time.monotonic()

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(min(self._config.limit_s / 4, 5.0)):
            silent_s = time.monotonic() - self._last
            if self._resting or self._warned or silent_s < self._config.limit_s:
                continue
            self._warned = True
            self._report(silent_s)
            if self._config.policy == "stop":
                os._exit(EXIT_TRY_AGAIN)  # what hangs can't be asked to end

    def _report(self, silent_s: float) -> None:
        # Nothing that could hang comes before this; a line of its own even after a half-written one.
        message = f"\nerror: nothing has happened for {silent_s:.0f} s, while {self._doing}; all threads stand at:\n"
        os.write(_STDERR, message.encode())
        faulthandler.dump_traceback(_STDERR, all_threads=True)
        words = threading.Thread(target=self._tell, args=(self._doing, silent_s), daemon=True)
        words.start()
        words.join(_LAST_WORDS_S)
