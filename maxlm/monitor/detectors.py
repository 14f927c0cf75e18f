"""Detectors of trouble, as arithmetic on the figures of past steps: no files, no clock, no jax.

A figure is compared with the median of those before it, in units of the median absolute deviation, both of which a few
wild values leave alone. All processes see the same figures and come to the same verdicts.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maxlm.monitor.config import Policy, SpikeConfig, WatchConfig

_NORMAL = 1.4826  # MAD times this estimates the standard deviation of a normal distribution
_LEAST_DEVIATION = 0.005  # of the median: a figure that hardly moves makes no alarm of a hair's breadth
_MEMORY = 100  # steps over which max_not_finite is counted


@dataclass(frozen=True)
class Alarm:
    """A figure that a detector did not like, and what the config says is to follow."""

    detector: str
    step: int
    value: float
    median: float | None  # of the figures before; None where there is nothing to compare with
    limit: float | None
    policy: Policy

    def __str__(self) -> str:
        if self.limit is None:
            return f"step {self.step}: {self.detector} is {self.value}"
        return (
            f"step {self.step}: {self.detector} {self.value:.4g} is above {self.limit:.4g} "
            f"(median of the steps before: {self.median:.4g})"
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
    """Compares each figure with those before it; the figure itself counts from the next one on, spike or not."""

    def __init__(self, name: str, config: SpikeConfig):
        self.name, self.config = name, config
        self._history: deque[float] = deque(maxlen=config.window)
        self._in_a_row = 0

    def look(self, step: int, value: float) -> Alarm | None:
        """One alarm for each rise above the limit that lasts `in_a_row` figures, however much longer it lasts."""
        if self.config.policy == "off" or not math.isfinite(value):
            return None
        alarm = None
        if 2 * len(self._history) >= self.config.window:
            median, limit = upper_limit(self._history, self.config.threshold)
            self._in_a_row = self._in_a_row + 1 if value > limit else 0
            if self._in_a_row == self.config.in_a_row:
                alarm = Alarm(self.name, step, value, median, limit, self.config.policy)
        self._history.append(value)
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
        self._not_finite: deque[int] = deque()  # steps

    def after_step(self, step: int, figures: Mapping[str, float]) -> list[Alarm]:
        """`figures`: loss and grad_norm of one step."""
        wild = [name for name in self._steps if not math.isfinite(figures[name])]
        if wild:
            alarm = self._count_not_finite(step, self._steps[wild[0]].name, figures[wild[0]])
            return [alarm] if alarm.policy != "off" else []
        return [
            found for name, detector in self._steps.items() if (found := detector.look(step, figures[name])) is not None
        ]

    def after_window(self, step: int, figures: Mapping[str, float]) -> list[Alarm]:
        """`figures`: means over the steps since the last call; each domain that was seen has its loss in them."""
        looks = ((detector, figures[name]) for name, detector in self._windows.items() if name in figures)
        return [found for detector, value in looks if (found := detector.look(step, value)) is not None]

    def _count_not_finite(self, step: int, name: str, value: float) -> Alarm:
        self._not_finite.append(step)
        while self._not_finite[0] <= step - _MEMORY:
            self._not_finite.popleft()
        too_many = len(self._not_finite) > self._config.max_not_finite
        return Alarm(name, step, value, None, None, "stop" if too_many else self._config.not_finite)
