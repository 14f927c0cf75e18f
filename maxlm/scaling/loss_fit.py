"""`maxlm fit --kind=loss`: L(N, D) of some runs, how well it foretells the largest ones, and what it recommends."""

from typing import Any

import numpy as np

from maxlm.errors import DataError
from maxlm.scaling.figures import band, figure, series
from maxlm.scaling.parametric import CONSTANTS, FEWEST, LossFit, fit_loss, predict
from maxlm.scaling.points import Array, Points

_PLAUSIBLE = (0.02, 1.5)  # exponents; all published ones lie between 0.05 and 0.6


def fit(points: Points, *, hold_out: float, delta: float, refits: int, seed: int) -> dict[str, Any]:
    """Constants, their intervals and the refits, as plain values.

    Args:
      hold_out: share of the points, those of most compute, that a second fit must foretell.
    """
    params, tokens, losses = (points.number(name) for name in ("params", "tokens", "loss"))
    found = fit_loss(params, tokens, losses, delta=delta, refits=refits, seed=seed)
    low, high = found.interval()
    alpha, beta = found.constants[3:]
    exponents = found.draws[:, 4] / found.draws[:, 3:].sum(axis=1)
    return {
        "kind": "loss", "data": points.source, "points": len(losses),
        "form": "L(N, D) = E + A/N^alpha + B/D^beta, nats per token",
        "constants": dict(zip(CONSTANTS, found.constants.tolist(), strict=True)),
        "intervals": {name: [low[i], high[i]] for i, name in enumerate(CONSTANTS)},
        "best_params_exponent": {
            "value": beta / (alpha + beta), "interval": np.quantile(exponents, [0.025, 0.975]).tolist(),
        },
        "objective": found.objective, "delta": delta,
        "residual": float(np.sqrt(np.mean(found.residuals**2))),
        "warnings": _warnings(found, losses),
        "tells": not _strange(found),
        "held_out": _held_out(points, hold_out, delta, seed),
        "draws": found.draws.tolist(),
        "figures": _figures(found, params, tokens, losses),
    }  # fmt: skip


def _strange(found: LossFit) -> dict[str, float]:
    """Exponents at which a term vanishes or is no power law of use: the runs do not tell the law."""
    exponents = dict(zip(CONSTANTS[3:], found.constants[3:].tolist(), strict=True))
    return {name: value for name, value in exponents.items() if not _PLAUSIBLE[0] <= value <= _PLAUSIBLE[1]}


def _warnings(found: LossFit, losses: Array) -> list[str]:
    axes = {"alpha": "sizes", "beta": "numbers of tokens"}
    warnings = [
        f"{name} = {exponent:.3g}: these runs do not tell how the loss falls with {axes[name]}"
        for name, exponent in _strange(found).items()
    ]
    if found.constants[0] < 0.01 * losses.min():
        warnings.append(
            "E is about 0: the runs are too far from any floor to tell it, or which size is best for far more compute"
        )
    return warnings


def _held_out(points: Points, share: float, delta: float, seed: int) -> dict[str, Any] | None:
    """Relative errors on the runs of most compute of a fit that has not seen them."""
    params, tokens, losses = (points.number(name) for name in ("params", "tokens", "loss"))
    order = np.argsort(params * tokens, kind="stable")
    number = int(np.ceil(share * len(order)))
    if not number:
        return None
    if len(order) - number < FEWEST:
        raise DataError(
            f"{points.source}: {len(order)} points leave {len(order) - number} to fit to when {number} are held out; "
            f"{FEWEST} at least, or --hold-out=0"
        )
    known, unseen = order[:-number], order[-number:]
    found = fit_loss(params[known], tokens[known], losses[known], delta=delta, refits=100, seed=seed)
    predicted = found.predict(params[unseen], tokens[unseen])
    errors = predicted / losses[unseen] - 1
    rows = np.stack([params[unseen], tokens[unseen], losses[unseen], predicted, errors], axis=1)
    return {
        "points": number, "mean_error": float(np.abs(errors).mean()), "largest_error": float(np.abs(errors).max()),
        "columns": ["params", "tokens", "loss", "predicted", "relative error"], "rows": rows.tolist(),
    }  # fmt: skip


def _figures(found: LossFit, params: Array, tokens: Array, losses: Array) -> list[dict[str, Any]]:
    flops = 6 * params * tokens
    sizes = _representative(params)
    dots, lines, bands = [], [], []
    for size in sizes:
        near = np.abs(np.log(params / size)) < 0.05
        name = f"{size:.3g} parameters"
        dots.append(series(name, tokens[near], losses[near]))
        along = np.geomspace(tokens.min(), tokens.max() * 4, 60)
        whole = np.full_like(along, size)
        lines.append(series(name, along, found.predict(whole, along)))
        low, high = np.quantile(predict(found.draws, whole, along), [0.025, 0.975], axis=0)
        bands.append(band(name, along, low, high))
    return [
        figure("loss and tokens, by size", "tokens D", "loss", dots=dots, lines=lines, bands=bands, log_x=True),
        figure(
            "residuals", "compute, FLOPs", "log of predicted / measured", log_x=True,
            dots=[series("runs", flops, found.residuals)],
            lines=[series("no error", [flops.min(), flops.max()], [0, 0])],
        ),
    ]  # fmt: skip


def _representative(params: Array, most: int = 6) -> list[float]:
    """Some of the sizes, evenly over their logarithm."""
    sizes: list[float] = []
    for size in np.sort(params):
        if not sizes or size > sizes[-1] * 1.05:
            sizes.append(float(size))
    picked = np.linspace(0, len(sizes) - 1, min(most, len(sizes))).round().astype(int)
    return [sizes[i] for i in picked]
