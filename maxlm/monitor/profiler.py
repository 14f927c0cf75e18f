"""A window of steps under jax's profiler."""

import os
from typing import Any

import jax

from maxlm.monitor.config import ProfileConfig
from maxlm.paths import PathLike, as_path


class ProfileWindow:
    """Traces steps ``start … start + steps - 1`` into RUN/profile, each process its own hosts and devices."""

    def __init__(self, config: ProfileConfig, workdir: PathLike):
        self.folder = as_path(workdir) / "profile"
        self._start, self._end = config.start, config.start + config.steps
        self._tracing = False

    def before_step(self, step: int, state: Any) -> str | None:
        """To be called before step number `step` is begun, on `state`. Returns what there is to say, if anything."""
        if self._tracing and step >= self._end:
            return self._stop(state)
        if not self._tracing and self._start <= step < self._end:
            jax.block_until_ready(state)  # what comes before is left out
            jax.profiler.start_trace(os.fspath(self.folder))
            self._tracing = True
        return None

    def _stop(self, state: Any) -> str:
        jax.block_until_ready(state)
        self._tracing = False
        jax.profiler.stop_trace()
        return f"profile of steps {self._start} to {self._end - 1}: {self.folder} (tensorboard or xprof show it)"

    def close(self) -> None:
        """Writes what was traced of a window that the run did not live to see the end of."""
        if self._tracing:
            self._tracing = False
            jax.profiler.stop_trace()
