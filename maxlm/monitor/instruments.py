"""The instruments of a run in one place: what the loop calls, and nothing else of this package."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax

from maxlm.errors import UserError
from maxlm.journal import Journal
from maxlm.monitor.clock import Clock, StepTimes
from maxlm.monitor.config import ProfileConfig, WatchConfig
from maxlm.monitor.detectors import Alarm, Limits, Seen, Watch
from maxlm.monitor.hosts import HostTimes
from maxlm.monitor.profiler import ProfileWindow
from maxlm.monitor.watchdog import Watchdog
from maxlm.paths import PathLike

CORRUPTION = "number of differences that should not be"
_TOLD = 3  # differences; all of a broken device would fill the terminal
Figures = tuple[float, float]  # loss, norm of the gradient


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
        self._corruption = config.watch.corruption
        self._watchdog = Watchdog(config.watch.stuck, self._tell_stuck)

    def remember(self, seen: Seen) -> None:
        """What the run had seen when the checkpoint was written that it goes on from."""
        self._watch.remember(seen)

    def seen(self) -> Seen:
        return self._watch.seen()

    def begin_block(self) -> None:
        self._times.restart()
        self._watchdog.beat("training")

    def before_step(self, step: int, state: Any) -> None:
        """`step`: the number of the update that is to be made next, of `state`."""
        if said := self._profile.before_step(step, state):
            self._say(said)

    def limits(self, step: int) -> Limits:
        """What the update of `step` must stay below to be applied."""
        return self._watch.limits(step)

    def check_devices(self, step: int, differences: Callable[[], Sequence[str]]) -> None:
        """Before every `config.watch.corruption.every`-th step, asks whether devices compute what they should.

        Args:
          differences: what is not equal bit for bit that should be, in words.

        Raises:
          StoppedByAlarmError: something is not, and the config says that this is to follow.
        """
        if self._corruption.policy == "off" or step % self._corruption.every:
            return
        with self.standing_still("check"):
            found = differences()
        if found:
            detail = "; ".join(found[:_TOLD]) + (f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else "")
            self._react([Alarm(CORRUPTION, step, len(found), None, None, self._corruption.policy, detail)])

    def fetch(
        self, step: int, metrics: Mapping[str, Any], again: Callable[[], Figures] | None = None
    ) -> dict[str, Any]:
        """A step's metrics on the host, once the device has them, and how long it took: step_s.

        Args:
          again: works the step's figures out once more, with the parameters of now. Asked where an alarm means more
            than a warning, to tell a fault that passes from one that stays.

        Raises:
          StoppedByAlarmError, RollbackWantedError: a detector objects, and the config says that this is to follow.
        """
        started = self._clock.elapsed()
        found = jax.device_get(dict(metrics))
        found["step_s"] = self._times.step_done(self._clock.elapsed() - started)
        self._watchdog.beat(f"waiting for the step after {step}")
        alarms = self._watch.after_step(step, {name: float(found[name]) for name in ("loss", "grad_norm")})
        if again is not None and any(alarm.policy != "warn" for alarm in alarms):
            with self.standing_still("check"):
                figures = again()
            alarms = [_with_second_look(alarm, figures) for alarm in alarms]
        self._react(alarms)
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
                raise StoppedByAlarmError(_last_words(alarm))
            self._say(f"warning: {alarm}" + ("; the update is left out" if alarm.policy == "skip" else ""))

    def _tell_stuck(self, doing: str, silent_s: float) -> None:
        self._journal.append("stuck", doing=doing, silent_s=round(silent_s), process=jax.process_index())


def _with_second_look(alarm: Alarm, again: Figures) -> Alarm:
    """`alarm` with what the same batch gives when it is run again."""
    loss, grad_norm = again
    value = loss if alarm.detector == "loss" else grad_norm
    if alarm.limit is None:
        stays = not math.isfinite(loss) or not math.isfinite(grad_norm)
        said = "not finite again: the batch or the parameters" if stays else "finite this time: a fault that passes"
    else:
        usual = alarm.median or 0.0
        stays = not value - usual <= (alarm.value - usual) / 2  # the parameters are a step further on
        said = f"{value:.4g} again: the batch" if stays else f"{value:.4g} this time: a fault that passes"
    return dataclasses.replace(alarm, detail="; ".join(filter(None, (alarm.detail, f"run again, it is {said}"))))


def _last_words(alarm: Alarm) -> str:
    if alarm.detector == CORRUPTION:
        return (
            f"{alarm}: the run stops before the next checkpoint; take the host of that device out, and give the same "
            "command again (maxlm rollback, if an earlier checkpoint is in doubt)"
        )
    diverged = "" if alarm.limit else "has diverged and "
    return (
        f"{alarm}: the run {diverged}stops before the next checkpoint; lower config.optimizer.learning_rate, or roll "
        "back a block (maxlm rollback … --skip)"
    )
