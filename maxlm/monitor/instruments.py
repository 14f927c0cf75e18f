"""The instruments of a run in one place: what the loop calls, and nothing else of this package."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from maxlm.errors import UserError
from maxlm.journal import Journal
from maxlm.monitor.clock import Clock, StepTimes
from maxlm.monitor.config import ProfileConfig, WatchConfig
from maxlm.monitor.detectors import Alarm, Watch
from maxlm.monitor.hosts import HostTimes
from maxlm.monitor.profiler import ProfileWindow
from maxlm.monitor.watchdog import Watchdog
from maxlm.paths import PathLike


class StoppedByAlarmError(UserError):
    """A detector whose policy is "stop"."""


class RollbackWantedError(UserError):
    """A detector whose policy is "rollback"."""

    def __init__(self, alarm: Alarm):
        super().__init__(f"{alarm}: the block is to be undone and left out (config.watch)")
        self.alarm = alarm


@dataclass(frozen=True)
class MonitorConfig:
    """The groups of a config that are meant for this package."""

    profile: ProfileConfig
    watch: WatchConfig


class Instruments:
    """Times steps, watches figures, traces and guards a run."""

    def __init__(
        self,
        config: MonitorConfig,
        workdir: PathLike,
        clock: Clock,
        journal: Journal,
        domains: Sequence[str],
        say: Callable[[str], None],
    ):
        self._clock, self._journal, self._say = clock, journal, say
        self._times, self._hosts = StepTimes(clock), HostTimes(workdir)
        self._watch, self._profile = Watch(config.watch, domains), ProfileWindow(config.profile, workdir)
        self._watchdog = Watchdog(config.watch.stuck, self._tell_stuck)

    def begin_block(self) -> None:
        self._times.restart()
        self._watchdog.beat("training")

    def before_step(self, step: int, state: Any) -> None:
        """`step`: the number of the update that is to be made next, of `state`."""
        if said := self._profile.before_step(step, state):
            self._say(said)

    def fetch(self, step: int, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """A step's metrics on the host, once the device has them, and how long it took: step_s.

        Raises:
          StoppedByAlarmError, RollbackWantedError: a detector objects, and the config says that this is to follow.
        """
        started = self._clock.elapsed()
        found = jax.device_get(dict(metrics))
        found["step_s"] = self._times.step_done(self._clock.elapsed() - started)
        self._watchdog.beat(f"waiting for the step after {step}")
        self._react(self._watch.after_step(step, {name: float(found[name]) for name in ("loss", "grad_norm")}))
        return found

    def scalars(self, step: int, figures: Mapping[str, float]) -> dict[str, float]:
        """What is to be written beside `figures`, the means of the steps since the last call.

        Raises:
          StoppedByAlarmError, RollbackWantedError: a detector objects, and the config says that this is to follow.
        """
        own = self._times.take()
        self._hosts.share(step, {**figures, **own})
        self._react(self._watch.after_window(step, figures))
        return own

    @contextmanager
    def standing_still(self, kind: str) -> Iterator[None]:
        """For what the steps wait for: one of the clock's kinds."""
        with self._clock.spending(kind):
            yield
        self._watchdog.beat(f"after {kind}")

    @contextmanager
    def waiting_for_data(self) -> Iterator[None]:
        """For a wait that has a limit, and when it succeeds an account, of its own."""
        started = self._clock.elapsed()
        try:
            with self._watchdog.resting():
                yield
        except BaseException:
            self._clock.add("data_wait", self._clock.elapsed() - started)
            raise

    def finish(self) -> None:
        """At the end of a run that did all it had to do."""
        self._hosts.flush()

    def close(self) -> None:
        self._watchdog.close()
        self._profile.close()
        self._hosts.close()

    def _react(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            self._journal.append("alarm", **alarm.fields())
            if alarm.policy == "rollback":
                self._say(f"warning: {alarm}; going back to the last finished block, and leaving this one out")
                raise RollbackWantedError(alarm)
            if alarm.policy == "stop":
                diverged = "" if alarm.limit else "has diverged and "
                raise StoppedByAlarmError(
                    f"{alarm}: the run {diverged}stops before the next checkpoint; lower "
                    "config.optimizer.learning_rate, or roll back a block (maxlm rollback … --skip)"
                )
            self._say(f"warning: {alarm}")

    def _tell_stuck(self, doing: str, silent_s: float) -> None:
        self._journal.append("stuck", doing=doing, silent_s=round(silent_s), process=jax.process_index())
