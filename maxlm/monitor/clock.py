"""Where a process's time goes: seconds by kind, without overlap; and how long steps take."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# Kinds beside training itself. "start": from the start of the process to the first line of metrics.
KINDS = ("start", "restore", "compile", "data_wait", "checkpoint", "evaluation", "check")


class Clock:
    """Time since the last line of metrics, by kind. What no kind takes was spent on steps.

    Attributes:
      resumed_at: when the last thing that steps stood still for was over, in seconds of `time.perf_counter`.
    """

    def __init__(self, age_s: float = 0.0):
        """`age_s`: for how long the process has been running already."""
        self.resumed_at = self._since = time.perf_counter()
        self._offset = time.time() - self._since  # within a process, time never runs backwards
        self._spent: dict[str, float] = {"start": age_s} if age_s else {}
        self._within: list[float] = []  # of each kind that is being measured: seconds that others took meanwhile

    def elapsed(self) -> float:
        """Seconds since some moment; for differences."""
        return time.perf_counter()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._offset + time.perf_counter()

    @contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """Counts what happens inside as `kind`, but for what is counted as another kind within."""
        started = time.perf_counter()
        self._within.append(0.0)
        try:
            yield
        finally:
            self.resumed_at = time.perf_counter()
            elapsed = self.resumed_at - started
            self._count(kind, elapsed - self._within.pop())
            if self._within:
                self._within[-1] += elapsed

    def add(self, kind: str, seconds: float) -> None:
        """Counts time that was measured elsewhere, and that went by since the last line."""
        self._count(kind, seconds)
        if self._within:
            self._within[-1] += seconds

    def take(self, rest: str | None = None) -> dict[str, float]:
        """Seconds by kind since the last call, which are then forgotten; `rest`: the kind of all others."""
        now, spent = time.perf_counter(), self._spent
        if rest:
            within = sum(spent.values()) - spent.get(rest, 0.0)
            spent[rest] = spent.get(rest, 0.0) + max(now - self._since - within, 0.0)
        self._spent, self._since = {}, now
        return {kind: round(seconds, 6) for kind, seconds in spent.items()}

    def first_calls(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """`step`, a jitted function of state, batch and more; its first call for each shape counts as compiling."""
        seen: set[tuple[int, ...]] = set()

        def call(state: Any, batch: Any, *more: Any) -> Any:
            if batch.inputs.shape in seen:
                return step(state, batch, *more)
            seen.add(batch.inputs.shape)
            with self.spending("compile"):
                return step(state, batch, *more)

        return call

    def _count(self, kind: str, seconds: float) -> None:
        self._spent[kind] = self._spent.get(kind, 0.0) + seconds


def process_age_s() -> float:
    """For how long this process has been running, imports included; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0.0
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = int(stat.read().rpartition(")")[2].split()[19])  # field 22; the name before it may hold spaces
        return max(float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"), 0.0)


class StepTimes:
    """How long the steps since the last line took on this host, and how much of it the host itself was at work.

    All hosts of a run wait for each other in every step, so that their steps take equally long. It is in what a host
    does beside waiting for its devices that a slow one differs.
    """

    def __init__(self, clock: Clock):
        self._clock, self._last = clock, clock.resumed_at
        self._steps: list[float] = []
        self._busy: list[float] = []

    def restart(self) -> None:
        """What went by since the last step was no step."""
        self._last = time.perf_counter()

    def step_done(self, waited_s: float) -> float:
        """`waited_s`: how long the host stood still until the step's results were there. Returns the step's seconds."""
        now = time.perf_counter()
        taken = now - max(self._last, self._clock.resumed_at)
        self._steps.append(taken)
        self._busy.append(max(taken - waited_s, 0.0))
        self._last = now
        return taken

    def take(self) -> dict[str, float]:
        """Percentiles over the steps since the last call, in seconds."""
        if not self._steps:
            return {}
        p50, p90, p99 = np.percentile(self._steps, (50, 90, 99))
        busy = float(np.median(self._busy))
        values = {"p50": p50, "p90": p90, "p99": p99, "max": max(self._steps), "host": busy}
        self._steps, self._busy = [], []
        return {f"step_s/{name}": float(value) for name, value in values.items()}
