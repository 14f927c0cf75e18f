"""Laws of the loss as a function of the shares of the domains, and the best mixture by them.

Two laws, of which the better one on runs held out is taken: the exponential one of Ye et al., 2024 (Data Mixing Laws,
arXiv 2403.16952), L_i(r) = c_i + exp(Σ_j t_ij r_j), and a ridge regression on shares and their products, in the manner
of RegMix (Liu et al., 2024, arXiv 2407.01492).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import optimize

from maxlm.errors import ConfigError, DataError, did_you_mean
from maxlm.scaling.figures import figure, series
from maxlm.scaling.points import Array, Points

_FOLDS = 6
_SAME = 0.1  # of a logarithm: sizes and tokens that are the same but for rows of a block
_TRIED = 20_000  # mixtures that are looked at before the best is refined
Law = Callable[[Array], Array]  # shares [points, domains] -> losses [points]


def fit(
    points: Points,
    *,
    weights: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    natural: Mapping[str, float] | None = None,
    refits: int = 50,
    seed: int = 0,
) -> dict[str, Any]:
    """The better law for each target, and the mixture of least weighted loss within bounds.

    Args:
      weights: target domain -> its weight in the loss to make small; None: all alike.
      bounds: domain -> least and largest share.
      natural: shares to compare with, as the corpus has them; None: the mean of the runs.

    Raises:
      DataError: too few runs, no shares, no losses.
      ConfigError: a bound or weight of no domain, or bounds that leave nothing.
    """
    domains, shares = points.domains(), points.shares()
    targets = _targets(points, weights)
    _check_one_size(points)
    losses = np.stack([points.number(column) for column in targets], axis=1)
    fewest = len(domains) + 3
    if len(shares) < fewest:
        raise DataError(f"{points.source}: {len(shares)} mixtures of {len(domains)} domains; {fewest} at least")
    low, high = _limits(domains, bounds or {})
    weight = np.array(list(targets.values()))
    errors = {name: _fold_errors(name, shares, losses, seed) for name in _LAWS}
    kind = min(errors, key=lambda name: float(np.abs(errors[name] @ weight).mean()))
    laws = [_LAWS[kind](shares, column) for column in losses.T]
    best = _best(laws, weight, low, high, seed)
    start = _natural(domains, natural, shares)
    gain = _weighted(laws, weight, start[None])[0] - _weighted(laws, weight, best[None])[0]
    drawn = _refits(kind, shares, losses, weight, (low, high), (start, best), refits, seed)
    return {
        "kind": "mixture", "data": points.source, "points": len(shares), "law": kind,
        "form": {"exponential": "L_i = c_i + exp(sum_j t_ij r_j)", "regression": "ridge on shares and products"}[kind],
        "constants": {f"share/{name}": share for name, share in zip(domains, best.tolist(), strict=True)},
        "intervals": {
            f"share/{name}": ends
            for name, ends in zip(domains, np.quantile(drawn["best"], [0.025, 0.975], axis=0).T.tolist(), strict=True)
        },
        "targets": targets, "bounds": dict(zip(domains, np.stack([low, high], axis=1).tolist(), strict=True)),
        "natural": dict(zip(domains, start.tolist(), strict=True)),
        "compared_with": "the natural mixture" if natural else "the mean of the runs' mixtures",
        "predicted_gain": {"value": float(gain), "interval": np.quantile(drawn["gain"], [0.025, 0.975]).tolist()},
        "held_out": _held_out(errors[kind], losses, targets),
        "other_laws": {name: float(np.abs(error @ weight).mean()) for name, error in errors.items()},
        "figures": _figures(domains, targets, shares, losses, errors[kind]),
    }  # fmt: skip


def _check_one_size(points: Points) -> None:
    """Raises DataError if the runs differ by more than their mixture."""
    for name in ("params", "tokens"):
        if points.has(name) and np.ptp(np.log(points.number(name))) > _SAME:
            raise DataError(
                f"{points.source}: runs of different {name}; a mixture law is of runs that differ in nothing else: "
                "choose them, as --where size=NAME --where blocks=N"
            )


def _targets(points: Points, weights: Mapping[str, float] | None) -> dict[str, float]:
    """Column of a loss -> its weight; they sum to 1."""
    there = points.losses()
    if weights is None:
        columns = [f"loss/{name}" for name in there] or ["loss"]
        return dict.fromkeys(columns, 1 / len(columns))
    for name in weights:
        if name not in there:
            raise ConfigError(f"--target {name}: no column loss/{name} in {points.source}{did_you_mean(name, there)}")
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise ConfigError("--target: weights are not negative, and one is positive")
    return {f"loss/{name}": weight / total for name, weight in weights.items()}


def _limits(domains: list[str], bounds: Mapping[str, tuple[float, float]]) -> tuple[Array, Array]:
    for name, (least, most) in bounds.items():
        if name not in domains:
            raise ConfigError(f"--bound {name}: no such domain{did_you_mean(name, domains)}")
        if not 0 <= least <= most <= 1:
            raise ConfigError(f"--bound {name}={least}:{most}: shares between 0 and 1, the lesser first")
    low = np.array([bounds.get(name, (0.0, 1.0))[0] for name in domains])
    high = np.array([bounds.get(name, (0.0, 1.0))[1] for name in domains])
    if low.sum() > 1 or high.sum() < 1:
        raise ConfigError(
            f"--bound: least shares sum to {low.sum():.3g} and largest to {high.sum():.3g}; 1 must lie between"
        )
    return low, high  # fmt: skip


def _natural(domains: list[str], natural: Mapping[str, float] | None, shares: Array) -> Array:
    if natural is None:
        return shares.mean(axis=0)
    if set(natural) != set(domains):
        raise ConfigError(f"--natural: name the share of each of {', '.join(domains)}")
    values = np.array([natural[name] for name in domains])
    return values / values.sum()


def exponential(shares: Array, losses: Array) -> Law:
    """c + exp(t · r), least squares from several floors; the t hold a factor k as well, as shares sum to 1."""
    best = None
    for floor in (0.3, 0.7, 0.95):
        c = floor * losses.min()
        t, *_ = np.linalg.lstsq(shares, np.log(losses - c), rcond=None)

        def residuals(theta: Array) -> Array:
            return np.exp(theta[0]) + np.exp(np.clip(shares @ theta[1:], -30, 10)) - losses

        end = optimize.least_squares(residuals, np.concatenate([[np.log(c)], t]), method="trf", max_nfev=300)
        if best is None or end.cost < best.cost:
            best = end
    assert best is not None
    theta = best.x
    return lambda r: np.exp(theta[0]) + np.exp(np.clip(r @ theta[1:], -30, 10))


def regression(shares: Array, losses: Array) -> Law:
    """Ridge on shares and their pairwise products, its strength by leave-one-out error."""
    X, mean = _features(shares), losses.mean()
    centred = losses - mean
    best: tuple[float, Array] | None = None
    for strength in np.geomspace(1e-6, 1, 13):
        inverse = np.linalg.inv(X.T @ X + strength * np.eye(X.shape[1]))
        coefficients = inverse @ X.T @ centred
        leverage = np.einsum("ij,jk,ik->i", X, inverse, X)
        error = float(np.mean(((centred - X @ coefficients) / np.maximum(1 - leverage, 1e-6)) ** 2))
        if best is None or error < best[0]:
            best = error, coefficients
    assert best is not None
    chosen = best[1]
    return lambda r: mean + _features(r) @ chosen


def _features(shares: Array) -> Array:
    pairs = [shares[:, i] * shares[:, j] for i in range(shares.shape[1]) for j in range(i, shares.shape[1])]
    return np.concatenate([shares, np.stack(pairs, axis=1)], axis=1)


_LAWS: dict[str, Callable[[Array, Array], Law]] = {"exponential": exponential, "regression": regression}


def _fold_errors(kind: str, shares: Array, losses: Array, seed: int) -> Array:
    """Predicted less measured for each run, by a law that has not seen it, `[points, targets]`."""
    order = np.random.default_rng(seed).permutation(len(shares))
    errors = np.zeros_like(losses)
    for unseen in np.array_split(order, min(_FOLDS, len(shares))):
        known = np.setdiff1d(order, unseen)
        for i, column in enumerate(losses.T):
            errors[unseen, i] = _LAWS[kind](shares[known], column[known])(shares[unseen]) - column[unseen]
    return errors


def _weighted(laws: list[Law], weight: Array, shares: Array) -> Array:
    return np.stack([law(shares) for law in laws], axis=1) @ weight


def _best(laws: list[Law], weight: Array, low: Array, high: Array, seed: int) -> Array:
    """The best of many mixtures within the limits, refined."""
    rng = np.random.default_rng(seed)
    room = 1 - low.sum()
    tried = low + room * rng.dirichlet(np.full(len(low), 0.7), _TRIED)
    tried = tried[(tried <= high + 1e-12).all(axis=1)]
    start = (
        tried[_weighted(laws, weight, tried).argmin()] if len(tried) else low + room * (high - low) / (high - low).sum()
    )
    if np.allclose(low, high):
        return low
    end = optimize.minimize(
        lambda r: float(_weighted(laws, weight, r[None])[0]), start, method="SLSQP",
        bounds=list(zip(low, high, strict=True)), constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
    )  # fmt: skip
    refined = np.clip(end.x, low, high)
    valid = end.success and abs(refined.sum() - 1) < 1e-6
    better = valid and _weighted(laws, weight, refined[None])[0] < _weighted(laws, weight, start[None])[0]
    return refined / refined.sum() if better else start


def _refits(kind, shares, losses, weight, limits, compared, refits: int, seed: int) -> dict[str, Array]:
    """Best mixtures and gains of laws of runs drawn anew."""
    rng, best, gains = np.random.default_rng(seed), [], []
    for _ in range(refits):
        drawn = rng.choice(len(shares), len(shares))
        if len(np.unique(drawn)) < shares.shape[1] + 2:
            continue
        laws = [_LAWS[kind](shares[drawn], column[drawn]) for column in losses.T]
        best.append(_best(laws, weight, limits[0], limits[1], seed))
        values = _weighted(laws, weight, np.stack(compared))
        gains.append(values[0] - values[1])
    return {"best": np.array(best), "gain": np.array(gains)}


def _held_out(errors: Array, losses: Array, targets: dict[str, float]) -> dict[str, Any]:
    relative = np.abs(errors / losses)
    rows = [[name, float(relative[:, i].mean()), float(relative[:, i].max())] for i, name in enumerate(targets)]
    return {
        "points": len(losses), "mean_error": float(relative.mean()), "largest_error": float(relative.max()),
        "columns": ["target", "mean relative error", "largest"], "rows": rows,
    }  # fmt: skip


def _figures(domains, targets, shares, losses, errors) -> list[dict[str, Any]]:
    figures = [
        figure(
            "measured and foretold, each run by a law that had not seen it", "measured loss", "foretold loss",
            dots=[series(name, losses[:, i], losses[:, i] + errors[:, i]) for i, name in enumerate(targets)],
            lines=[series("equal", [losses.min(), losses.max()], [losses.min(), losses.max()])],
        )
    ]  # fmt: skip
    for j, domain in enumerate(domains):
        dots = [series(name, shares[:, j], losses[:, i]) for i, name in enumerate(targets)]
        figures.append(figure(f"loss and the share of {domain}", f"share of {domain}", "loss", dots=dots))
    return figures
