"""From compute to a benchmark in two steps (Grattafiori et al., 2024, section 3.2.1; Bhagia et al., 2024).

Step 1: the loss on the task's right answers falls as L(C) = E + A/C^α. Step 2: accuracy is a sigmoid of that loss,
from chance to a ceiling.
"""

from typing import Any

import numpy as np
from scipy import optimize

from maxlm.errors import DataError
from maxlm.scaling.figures import band, figure, series
from maxlm.scaling.points import Array, Points

_FEWEST = 6
_STEP_1, _STEP_2 = ("E", "A", "alpha"), ("floor", "ceiling", "slope", "middle")


def fit(points: Points, task: str, *, chance: float | None, refits: int, seed: int) -> dict[str, Any]:
    """The two curves of a task: columns flops, loss/TASK and accuracy/TASK.

    Args:
      chance: accuracy of guessing, the sigmoid's floor; None: fitted.

    Raises:
      DataError: fewer than six runs.
    """
    flops = points.number("flops")
    losses, accuracies = points.number(f"loss/{task}"), points.number(f"accuracy/{task}")
    if len(flops) < _FEWEST:
        raise DataError(f"{points.source}: {len(flops)} runs; {_FEWEST} at least for the two curves of {task}")
    if (accuracies > 1).any():
        raise DataError(f"{points.source}: accuracy/{task} exceeds 1; give shares, not per cent")
    first, second = _power(flops, losses), _sigmoid(losses, accuracies, chance)
    rng, draws = np.random.default_rng(seed), []
    for _ in range(refits):
        drawn = rng.choice(len(flops), len(flops))
        if len(np.unique(drawn)) >= 4:
            draws.append((_power(flops[drawn], losses[drawn]), _sigmoid(losses[drawn], accuracies[drawn], chance)))
    both = np.array([np.concatenate(draw) for draw in draws])
    ends = np.quantile(both, [0.025, 0.975], axis=0).T.tolist()
    return {
        "kind": "downstream", "data": points.source, "points": len(flops), "task": task,
        "form": "loss = E + A/(C/C0)^alpha; accuracy = floor + (ceiling - floor)/(1 + exp(slope (loss - middle)))",
        "constants": dict(zip((*_STEP_1, *_STEP_2), [*first.tolist(), *second.tolist()], strict=True)) | {"C0": _UNIT},
        "intervals": dict(zip((*_STEP_1, *_STEP_2), ends, strict=True)),
        "held_out": _held_out(flops, losses, accuracies, chance),
        "figures": _figures(task, flops, losses, accuracies, first, second, draws),
    }  # fmt: skip


_UNIT = 1e18  # FLOPs; A is the part of the loss above E at that compute


def loss_at(constants: Array, flops: Array) -> Array:
    E, A, alpha = constants
    return E + A * (flops / _UNIT) ** -alpha


def accuracy_at(constants: Array, losses: Array) -> Array:
    floor, ceiling, slope, middle = constants
    return floor + (ceiling - floor) / (1 + np.exp(np.clip(slope * (losses - middle), -60, 60)))


def _power(flops: Array, losses: Array) -> Array:
    best = None
    for alpha in (0.05, 0.15, 0.3):
        basis = np.stack([np.ones(len(flops)), (flops / _UNIT) ** -alpha], axis=1)
        E, A = np.linalg.lstsq(basis, losses, rcond=None)[0]
        start = [max(E, 0.1 * losses.min()), max(A, 1e-3), alpha]
        end = optimize.least_squares(
            lambda c: np.log(loss_at(c, flops) / losses), start, bounds=([0, 1e-9, 1e-3], [np.inf, np.inf, 2])
        )
        best = end if best is None or end.cost < best.cost else best
    assert best is not None
    return best.x


def _sigmoid(losses: Array, accuracies: Array, chance: float | None) -> Array:
    floor = min(accuracies.min(), 0.99) if chance is None else chance
    margin = 1e-6 if chance is not None else 0.2
    low = [max(floor - margin, 0.0), min(accuracies.max(), 0.999), 1e-3, 0.0]
    high = [min(floor + 1e-6, 1.0), 1.0 + 1e-9, 200.0, 3 * losses.max()]
    best = None
    for slope in (1.0, 5.0, 20.0):
        start = np.clip(
            [floor, (1 + low[1]) / 2, slope, np.median(losses)], np.array(low) + 1e-9, np.array(high) - 1e-10
        )
        end = optimize.least_squares(lambda c: accuracy_at(c, losses) - accuracies, start, bounds=(low, high))
        best = end if best is None or end.cost < best.cost else best
    assert best is not None
    return best.x


def _held_out(flops: Array, losses: Array, accuracies: Array, chance: float | None) -> dict[str, Any] | None:
    """The run of most compute, foretold from the others through both steps."""
    last = int(np.argmax(flops))
    rest = np.delete(np.arange(len(flops)), last)
    if len(rest) < _FEWEST - 1:
        return None
    first, second = _power(flops[rest], losses[rest]), _sigmoid(losses[rest], accuracies[rest], chance)
    loss = float(loss_at(first, flops[[last]])[0])
    accuracy = float(accuracy_at(second, np.array([loss]))[0])
    error = accuracy - float(accuracies[last])
    relative = abs(error) / float(accuracies[last])
    return {
        "points": 1, "mean_error": relative, "largest_error": relative,
        "columns": ["flops", "loss", "foretold loss", "accuracy", "foretold accuracy", "difference"],
        "rows": [[float(flops[last]), float(losses[last]), loss, float(accuracies[last]), accuracy, error]],
    }  # fmt: skip


def _figures(task, flops, losses, accuracies, first, second, draws) -> list[dict[str, Any]]:
    budgets = np.geomspace(flops.min(), flops.max() * 30, 60)
    along = np.linspace(loss_at(first, budgets[-1:])[0], losses.max(), 60)
    ends = np.quantile([accuracy_at(s, loss_at(f, budgets)) for f, s in draws], [0.025, 0.975], axis=0)
    return [
        figure(f"{task}: loss and compute", "compute, FLOPs", "loss", log_x=True,
               dots=[series("runs", flops, losses)], lines=[series("law", budgets, loss_at(first, budgets))]),
        figure(f"{task}: accuracy and loss", "loss", "accuracy", dots=[series("runs", losses, accuracies)],
               lines=[series("sigmoid", along, accuracy_at(second, along))]),
        figure(f"{task}: accuracy and compute", "compute, FLOPs", "accuracy", log_x=True,
               dots=[series("runs", flops, accuracies)],
               lines=[series("both steps", budgets, accuracy_at(second, loss_at(first, budgets)))],
               bands=[band("95 %", budgets, ends[0], ends[1])]),
    ]  # fmt: skip
