"""Detectors of trouble, as arithmetic on the figures of past steps: no files, no clock, no jax.

A figure is compared with the median of those before it, in units of the median absolute deviation, both of which a few
wild values leave alone. All processes see the same figures and come to the same verdicts. What has been seen is saved
with each checkpoint, so that a run that was interrupted comes to them too.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from maxlm.monitor.config import Policy, SpikeConfig, WatchConfig

_NORMAL = 1.4826  # MAD times this estimates the standard deviation of a normal distribution
_LEAST_DEVIATION = 0.005  # of the median: a figure that hardly moves makes no alarm of a hair's breadth
_MEMORY = 100  # steps over which max_not_finite and max_skipped are counted


class Limits(NamedTuple):
    """Beyond which a step does not apply its update."""

    loss: float = math.inf
    grad_norm: float = math.inf


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Seen:
    """What verdicts depend on, as a checkpoint has it."""

    figures: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)  # by detector: (step, figure) each
    in_a_row: dict[str, int] = field(default_factory=dict)  # by detector: figures above the limit, up to the last one
    not_applied: dict[str, tuple[int, ...]] = field(default_factory=dict)  # steps by reason: not_finite, skipped


@dataclass(frozen=True)
class Alarm:
    """A figure that a detector did not like, and what the config says is to follow."""

    detector: str
    step: int
    value: float
    median: float | None  # of the figures before; None where there is nothing to compare with
    limit: float | None
    policy: Policy
    detail: str = ""  # what else is known

    def __str__(self) -> str:
        more = f"; {self.detail}" if self.detail else ""
        if self.limit is None:
            return f"step {self.step}: {self.detector} is {self.value}{more}"
        return (
            f"step {self.step}: {self.detector} {self.value:.4g} is above {self.limit:.4g} "
            f"(median of the steps before: {self.median:.4g}){more}"
        )

    def fields(self) -> dict[str, float | str | None]:
        """As the journal has it; JSON knows no NaN."""
        fields = dataclasses.asdict(self)
        return fields if math.isfinite(self.value) else {**fields, "value": str(self.value)}


def upper_limit(history: Iterable[float], threshold: float) -> tuple[float, float]:
    """(median, median + threshold · deviation) of `history`, where the deviation is 1.4826 · MAD."""
    values = np.fromiter(history, float)
    median = float(np.median(values))
    deviation = _NORMAL * float(np.median(np.abs(values - median)))
    return median, median + threshold * max(deviation, _LEAST_DEVIATION * abs(median))


class SpikeDetector:
    """Compares each figure with those before it; the figure itself counts from then on, spike or not."""

    def __init__(self, name: str, config: SpikeConfig):
        self.name, self.config = name, config
        # What is to be skipped is decided before the figures of the step before are on the host.
        self._lag = 1 if config.policy == "skip" else 0
        self.history: deque[tuple[int, float]] = deque(maxlen=config.window + 2)  # (step, figure)
        self.in_a_row = 0  # figures above the limit, up to the last one

    def limit(self, step: int) -> tuple[float, float] | None:
        """(median, limit) for the figure of `step`; None while too few are known."""
        known = [value for at, value in self.history if at < step - self._lag][-self.config.window :]
        return upper_limit(known, self.config.threshold) if 2 * len(known) >= self.config.window else None

    def look(self, step: int, value: float) -> Alarm | None:
        """One alarm for each rise above the limit that lasts `in_a_row` figures, however much longer it lasts.

        With the policy "skip", one for each figure above it.
        """
        if self.config.policy == "off" or not math.isfinite(value):
            return None
        alarm = None
        if (found := self.limit(step)) is not None:
            median, limit = found
            self.in_a_row = self.in_a_row + 1 if value > np.float32(limit) else 0  # as the device compares
            if self.in_a_row == self.config.in_a_row or (self.in_a_row and self.config.policy == "skip"):
                alarm = Alarm(self.name, step, value, median, limit, self.config.policy)
        self.history.append((step, value))
        return alarm


class Watch:
    """All detectors of a run, each with the policy that the config gives it."""

    def __init__(self, config: WatchConfig, domains: Sequence[str]):
        self._config = config
        self._steps = {
            "loss": SpikeDetector("loss", config.loss),
            "grad_norm": SpikeDetector("gradient norm", config.grad_norm),
        }
        self._windows = {f"loss/{name}": SpikeDetector(f"loss of {name}", config.domain_loss) for name in domains}
        # Steps whose updates were not applied, by reason.
        self._not_applied: dict[str, deque[int]] = {"not_finite": deque(), "skipped": deque()}

    def limits(self, step: int) -> Limits:
        """What the update of `step` must stay below, for policies that skip it otherwise."""
        found = {name: each.limit(step) for name, each in self._steps.items() if each.config.policy == "skip"}
        return Limits(**{name: limit[1] for name, limit in found.items() if limit is not None})

    def after_step(self, step: int, figures: Mapping[str, float]) -> list[Alarm]:
        """`figures`: loss and grad_norm of one step."""
        wild = [name for name in self._steps if not math.isfinite(figures[name])]
        if wild:
            name = wild[0]
            alarms = [Alarm(self._steps[name].name, step, figures[name], None, None, self._config.not_finite)]
        else:
            looks = (detector.look(step, figures[name]) for name, detector in self._steps.items())
            alarms = [found for found in looks if found is not None]
        if reason := "not_finite" if wild else "skipped" if any(each.policy == "skip" for each in alarms) else "":
            alarms = [self._counted(reason, alarm) for alarm in alarms]
        return [alarm for alarm in alarms if alarm.policy != "off"]

    def after_window(self, step: int, figures: Mapping[str, float]) -> list[Alarm]:
        """`figures`: means over the steps since the last call; each domain that was seen has its loss in them."""
        looks = ((detector, figures[name]) for name, detector in self._windows.items() if name in figures)
        return [found for detector, value in looks if (found := detector.look(step, value)) is not None]

    def seen(self) -> Seen:
        detectors = {**self._steps, **self._windows}
        return Seen(
            figures={name: tuple(each.history) for name, each in detectors.items()},
            in_a_row={name: each.in_a_row for name, each in detectors.items()},
            not_applied={reason: tuple(steps) for reason, steps in self._not_applied.items()},
        )

    def remember(self, seen: Seen) -> None:
        """Goes on from `seen`; figures that no detector asks for any more are left out."""
        for name, detector in {**self._steps, **self._windows}.items():
            detector.history.extend((int(step), value) for step, value in seen.figures.get(name, ()))
            detector.in_a_row = seen.in_a_row.get(name, 0)
        for reason, steps in self._not_applied.items():
            steps.extend(seen.not_applied.get(reason, ()))

    def _counted(self, reason: str, alarm: Alarm) -> Alarm:
        """`alarm` as it is, or with the policy "stop" where too many updates have not been applied of late."""
        steps, allowed = self._not_applied[reason], getattr(self._config, f"max_{reason}")
        if not steps or steps[-1] != alarm.step:
            steps.append(alarm.step)
        while steps[0] <= alarm.step - _MEMORY:
            steps.popleft()
        if len(steps) <= allowed:
            return alarm
        detail = f"{len(steps)} of the last {_MEMORY} updates were not applied (config.watch.max_{reason}={allowed})"
        return dataclasses.replace(alarm, policy="stop", detail=detail)
