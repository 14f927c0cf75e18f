"""Power laws of the best learning rate, or batch, over sizes and tokens: k · N^a · D^b.

At each (N, D) the best value is the bottom of a parabola in its logarithm, as in DeepSeek-AI, 2024, section 3.1, and
Li et al., 2025 (Step Law, arXiv 2503.04715); the power law goes through these.
"""

from typing import Any

import numpy as np
from scipy import stats

from maxlm.errors import DataError
from maxlm.scaling.figures import figure, series
from maxlm.scaling.points import Array, Points, Rows

_FEWEST = 3  # values tried at a size


def fit(points: Points, what: str) -> dict[str, Any]:
    """The best `what` ("learning_rate" or "batch") as a power law.

    Raises:
      DataError: fewer than two sizes with a least loss within the values that were tried.
    """
    values, losses = points.number(what), points.number("loss")
    params, tokens = points.number("params"), points.number("tokens")
    places, valleys = [], []
    for rows in _places(params, tokens):
        valley = _bottom(values[rows], losses[rows]) if len(np.unique(values[rows])) >= _FEWEST else None
        if valley is not None:
            places.append(rows)
            valleys.append(valley)
    if len(places) < 2:
        raise DataError(
            f"{points.source}: {len(places)} pairs of size and tokens have a least loss within their values of {what} "
            f"({_FEWEST} or more of them each); two at least are needed"
        )
    best = np.array([valley[0] for valley in valleys])
    N, D = (np.array([column[rows[0]] for rows in places]) for column in (params, tokens))
    names, law = _power_law(N, D, best)
    return {
        "kind": what, "data": points.source, "points": len(losses),
        "form": f"{what} = k" + "".join(f" * {name}^{name}_exponent" for name in names),
        **law(),
        "best": [
            {"params": n, "tokens": d, what: v} for n, d, v in zip(N.tolist(), D.tolist(), best.tolist(), strict=True)
        ],
        "held_out": _held_out(N, D, best, what),
        "figures": _figures(what, places, valleys, values, losses, N, D, best),
    }  # fmt: skip


def _places(params: Array, tokens: Array) -> list[Rows]:
    """Rows of the same size and tokens, within 5 %."""
    keys = np.round(np.log(np.stack([params, tokens], axis=1)) / 0.05).astype(int)
    _, groups = np.unique(keys, axis=0, return_inverse=True)
    return [np.flatnonzero(groups.ravel() == i) for i in range(groups.max() + 1)]


def _bottom(values: Array, losses: Array) -> tuple[float, Array] | None:
    """Bottom of the parabola in log(value) and the parabola; None where it lies outside of what was tried."""
    x = np.log(values)
    curve = np.polyfit(x - x.mean(), losses, 2)
    if curve[0] <= 0:
        return None
    lowest = -curve[1] / (2 * curve[0]) + x.mean()
    return (float(np.exp(lowest)), np.append(curve, x.mean())) if x.min() <= lowest <= x.max() else None


def _design(N: Array, D: Array, names: list[str]) -> Array:
    columns = {"params": np.log(N), "tokens": np.log(D)}
    return np.stack([np.ones(len(N)), *(columns[name] for name in names)], axis=1)


def _varying(N: Array, D: Array) -> list[str]:
    """What can be told apart: N, D, or both where they do not go together."""
    names = [name for name, values in (("params", N), ("tokens", D)) if np.ptp(np.log(values)) > 0.1]
    if len(names) == 2 and (len(N) < 4 or abs(np.corrcoef(np.log(N), np.log(D))[0, 1]) > 0.99):
        return names[:1]
    return names


def _power_law(N: Array, D: Array, best: Array) -> tuple[list[str], Any]:
    names = _varying(N, D)
    X = _design(N, D, names)
    coefficients, *_ = np.linalg.lstsq(X, np.log(best), rcond=None)

    def described() -> dict[str, Any]:
        labels = ["k", *(f"{name}_exponent" for name in names)]
        freedom = len(best) - X.shape[1]
        spread = np.full(X.shape[1], np.nan)
        if freedom > 0:
            residual = np.log(best) - X @ coefficients
            spread = np.sqrt(np.diag(np.linalg.inv(X.T @ X)) * (residual @ residual) / freedom)
        half = stats.t.ppf(0.975, max(freedom, 1)) * spread
        ends = np.stack([coefficients - half, coefficients + half], axis=1)
        value, ends[0] = coefficients.copy(), np.exp(ends[0])
        value[0] = np.exp(value[0])
        return {
            "constants": dict(zip(labels, value.tolist(), strict=True)),
            "intervals": {name: end if freedom > 0 else None for name, end in zip(labels, ends.tolist(), strict=True)},
        }

    return names, described


def _held_out(N: Array, D: Array, best: Array, what: str) -> dict[str, Any] | None:
    """The largest run's best value, foretold from the others."""
    last = int(np.argmax(N * D))
    rest = np.delete(np.arange(len(best)), last)
    if len(rest) < 2:
        return None
    names = _varying(N[rest], D[rest])
    coefficients, *_ = np.linalg.lstsq(_design(N[rest], D[rest], names), np.log(best[rest]), rcond=None)
    predicted = float(np.exp(_design(N[[last]], D[[last]], names) @ coefficients)[0])
    error = predicted / float(best[last]) - 1
    return {
        "points": 1, "mean_error": abs(error), "largest_error": abs(error),
        "columns": ["params", "tokens", f"best {what}", "predicted", "relative error"],
        "rows": [[float(N[last]), float(D[last]), float(best[last]), predicted, error]],
    }  # fmt: skip


def _figures(what, places, valleys, values, losses, N, D, best) -> list[dict[str, Any]]:
    dots, lines = [], []
    for rows, (_, curve), n, d in zip(places, valleys, N, D, strict=True):
        name = f"N={n:.2g}, D={d:.2g}"
        dots.append(series(name, values[rows], losses[rows]))
        along = np.geomspace(values[rows].min(), values[rows].max(), 50)
        lines.append(series(name, along, np.polyval(curve[:3], np.log(along) - curve[3])))
    return [
        figure(f"loss and {what}", what, "loss", dots=dots, lines=lines, log_x=True),
        figure(
            f"best {what} and compute", "compute, FLOPs", what, log_x=True, log_y=True,
            dots=[series("least loss", 6 * N * D, best)],
        ),
    ]  # fmt: skip
