"""The kinds of fits by name, each with the questions that it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from maxlm.errors import ConfigError
from maxlm.scaling import compare, downstream, hyper, isoflop, loss_fit, mixture
from maxlm.scaling.points import Points


@dataclass(frozen=True)
class Settings:
    """What a fit can be told; each kind reads its own part."""

    hold_out: float = 0.2  # loss: share of the runs, those of most compute, that a second fit must foretell
    delta: float = 1e-3  # loss: residuals of log L beyond it count linearly
    refits: int = 400  # to runs drawn anew, for the intervals
    seed: int = 0
    targets: Mapping[str, float] = field(default_factory=dict)  # mixture: domain -> weight of its loss
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # mixture: domain -> least, largest share
    natural: Mapping[str, float] = field(default_factory=dict)  # mixture: shares to compare with
    by: str = "order"  # curriculum: the column that names what is compared
    baseline: str | None = None  # curriculum: what the others are compared with
    task: str = ""  # downstream: its columns are loss/TASK and accuracy/TASK
    chance: float | None = None  # downstream: accuracy of guessing

    def __post_init__(self) -> None:
        if not 0 <= self.hold_out < 1:
            raise ConfigError(f"--hold-out={self.hold_out}: a share of the runs, below 1")
        if self.refits < 1 or self.delta <= 0:
            raise ConfigError("--refits is at least 1, and --delta positive")


DEFAULT = Settings()


def _loss(points: Points, s: Settings) -> dict[str, Any]:
    return loss_fit.fit(points, hold_out=s.hold_out, delta=s.delta, refits=s.refits, seed=s.seed)


def _mixture(points: Points, s: Settings) -> dict[str, Any]:
    return mixture.fit(
        points, weights=s.targets or None, bounds=s.bounds, natural=s.natural or None, refits=min(s.refits, 50),
        seed=s.seed,
    )  # fmt: skip


def _downstream(points: Points, s: Settings) -> dict[str, Any]:
    if not s.task:
        raise ConfigError("--task: name the task, whose columns are loss/TASK and accuracy/TASK")
    return downstream.fit(points, s.task, chance=s.chance, refits=min(s.refits, 200), seed=s.seed)


KINDS: dict[str, Callable[[Points, Settings], dict[str, Any]]] = {
    "loss": _loss,
    "isoflop": lambda points, s: isoflop.fit(points, refits=s.refits, seed=s.seed),
    "learning_rate": lambda points, s: hyper.fit(points, "learning_rate"),
    "batch": lambda points, s: hyper.fit(points, "batch"),
    "mixture": _mixture,
    "curriculum": lambda points, s: compare.fit(points, s.by, s.baseline),
    "downstream": _downstream,
}
