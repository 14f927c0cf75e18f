"""SIGTERM: a scheduler wants the machine back. The run saves after the step at hand, and leaves."""

import signal
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Whether this process, or any of its group, was asked to stop.

    Of several processes each gets the signal at another step; jax's preemption service has them agree on one.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: Any = None
        self._mine = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        if self._mine:
            self._before = signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked.set()

    def requested(self, step: int) -> bool:
        """Whether to save and leave after `step`; the same answer in all processes."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked.is_set()

    def close(self) -> None:
        if self._mine:
            signal.signal(signal.SIGTERM, self._before)
