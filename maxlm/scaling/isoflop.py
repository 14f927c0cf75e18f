"""IsoFLOP parabolas: at each compute budget the size of least loss, and the power law through these sizes.

Hoffmann et al., 2022, section 3.2 (approach 2). Parabolas over a wide range of sizes are skewed; prefer L(N, D) where
it fits.
"""

from typing import Any

import numpy as np

from maxlm.errors import DataError
from maxlm.scaling.figures import figure, series
from maxlm.scaling.points import Array, Points, Rows

_SAME_BUDGET = 0.15  # of the logarithm: budgets as papers and readers of plots round them
_FEWEST = 4  # sizes at a budget


def fit(points: Points, *, refits: int, seed: int) -> dict[str, Any]:
    """The best size and tokens as powers of C.

    Raises:
      DataError: fewer than two budgets with a valley among the sizes.
    """
    params, flops, losses = (points.number(name) for name in ("params", "flops", "loss"))
    budgets = [rows for rows in _budgets(flops) if len(np.unique(params[rows])) >= _FEWEST]
    valleys = [(rows, valley) for rows in budgets if (valley := _valley(params[rows], losses[rows])) is not None]
    if len(valleys) < 2:
        raise DataError(
            f"{points.source}: {len(valleys)} compute budgets have a least loss within their sizes, of {len(budgets)} "
            f"with {_FEWEST} sizes or more; two at least are needed"
        )
    centres = np.array([np.exp(np.log(flops[rows]).mean()) for rows, _ in valleys])
    best = np.array([valley[0] for _, valley in valleys])
    exponent, intercept = np.polyfit(np.log(centres), np.log(best), 1)
    draws = _refits([rows for rows, _ in valleys], params, flops, losses, refits, seed)
    held_out = _held_out(centres, best)
    return {
        "kind": "isoflop", "data": points.source, "points": len(losses), "form": "N = coefficient * C^exponent",
        "constants": {"coefficient": float(np.exp(intercept)), "exponent": float(exponent)},
        "intervals": {
            "coefficient": np.exp(np.quantile(draws[:, 1], [0.025, 0.975])).tolist() if len(draws) else None,
            "exponent": np.quantile(draws[:, 0], [0.025, 0.975]).tolist() if len(draws) else None,
        },
        "budgets": [
            {"flops": c, "params": n, "tokens": c / (6 * n), "loss": valley[1]}
            for c, n, (_, valley) in zip(centres.tolist(), best.tolist(), valleys, strict=True)
        ],
        "held_out": held_out,
        "figures": _figures(valleys, params, flops, losses, centres, best, exponent, intercept),
    }  # fmt: skip


def _budgets(flops: Array) -> list[Rows]:
    """Rows of about equal compute, least first."""
    order = np.argsort(flops, kind="stable")
    cuts = np.flatnonzero(np.diff(np.log(flops[order])) > _SAME_BUDGET / 3) + 1
    groups = np.split(order, cuts)
    return [rows for rows in groups if np.ptp(np.log(flops[rows])) <= _SAME_BUDGET]


def _valley(params: Array, losses: Array) -> tuple[float, float, Array] | None:
    """Size of least loss, that loss, and the parabola in log N; None where it lies outside of the sizes."""
    x = np.log(params)
    curve = np.polyfit(x - x.mean(), losses, 2)
    if curve[0] <= 0:
        return None
    lowest = -curve[1] / (2 * curve[0])
    if not x.min() <= lowest + x.mean() <= x.max():
        return None
    return float(np.exp(lowest + x.mean())), float(np.polyval(curve, lowest)), np.append(curve, x.mean())


def _refits(budgets: list[Rows], params: Array, flops: Array, losses: Array, refits: int, seed: int) -> Array:
    """Exponents and intercepts `[refits, 2]`, the runs of each budget drawn anew; fewer where no valley is left."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(refits):
        best = []
        for rows in budgets:
            drawn = rng.choice(rows, len(rows))
            if len(np.unique(params[drawn])) >= 3 and (valley := _valley(params[drawn], losses[drawn])) is not None:
                best.append((np.log(flops[rows]).mean(), np.log(valley[0])))
        if len({x for x, _ in best}) >= 2:
            x, y = np.array(best).T
            exponent, intercept = np.polyfit(x, y, 1)
            found.append((float(exponent), float(intercept)))
    return np.array(found)


def _held_out(centres: Array, best: Array) -> dict[str, Any] | None:
    """The largest budget's best size, foretold from the others."""
    if len(best) < 3:
        return None
    line = np.polyfit(np.log(centres[:-1]), np.log(best[:-1]), 1)
    predicted = float(np.exp(np.polyval(line, np.log(centres[-1]))))
    error = predicted / float(best[-1]) - 1
    return {
        "points": 1, "mean_error": abs(error), "largest_error": abs(error),
        "columns": ["flops", "best params", "predicted", "relative error"],
        "rows": [[float(centres[-1]), float(best[-1]), predicted, error]],
    }  # fmt: skip


def _figures(valleys, params, flops, losses, centres, best, exponent, intercept) -> list[dict[str, Any]]:
    dots, lines = [], []
    for (rows, (_, _, curve)), centre in zip(valleys, centres, strict=True):
        name = f"{centre:.2g} FLOPs"
        dots.append(series(name, params[rows], losses[rows]))
        along = np.geomspace(params[rows].min(), params[rows].max(), 50)
        lines.append(series(name, along, np.polyval(curve[:3], np.log(along) - curve[3])))
    along = np.geomspace(centres.min(), centres.max() * 10, 50)
    return [
        figure("loss and size, by compute", "parameters N", "loss", dots=dots, lines=lines, log_x=True),
        figure(
            "best size and compute", "compute, FLOPs", "parameters N", log_x=True, log_y=True,
            dots=[series("least loss", centres, best)],
            lines=[series(f"C^{exponent:.3f}", along, np.exp(intercept) * along**exponent)],
        ),
    ]  # fmt: skip
