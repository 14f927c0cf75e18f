"""From the runs of a sweep to what a team would do next: all fits that the runs allow, and what they recommend."""

from typing import Any

import numpy as np

from maxlm.errors import ConfigError, DataError
from maxlm.scaling.kinds import DEFAULT, KINDS, Settings
from maxlm.scaling.laws import LossLaw
from maxlm.scaling.parametric import CONSTANTS, predict
from maxlm.scaling.points import Points

_LARGER = (1, 10, 100)  # times the compute of the largest run, to which recommendations reach


def fit_all(points: Points, settings: Settings = DEFAULT) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Every kind of fit that the runs allow, and for the others why not."""
    fits, reasons = {}, {}
    for kind, fit in KINDS.items():
        try:
            fits[kind] = fit(_comparable(points, kind), settings)
        except (DataError, ConfigError) as error:
            reasons[kind] = str(error)
    return fits, reasons


def _comparable(points: Points, kind: str) -> Points:
    """For laws of sizes, the best run at each size and budget, whatever else was tried there; for mixtures the runs of
    that size and budget at which most were tried; for others all runs."""
    if kind == "mixture" and points.domains():
        places = list(zip(points.word("size"), points.word("blocks"), strict=True)) if points.has("size") else []
        most = max(places, key=places.count, default=None)
        return points.only(np.array([i for i, place in enumerate(places) if place == most], int)) if places else points
    if kind not in ("loss", "isoflop"):
        return points
    losses, keys = points.number("loss"), np.stack([points.number("params"), points.number("tokens")], axis=1)
    _, groups = np.unique(keys, axis=0, return_inverse=True)
    best = [min(np.flatnonzero(groups.ravel() == group), key=lambda i: losses[i]) for group in range(groups.max() + 1)]
    return points.only(np.array(sorted(best), int))


def recommend(points: Points, fits: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """What to do, and the evidence, in words."""
    found = []
    if (fit := fits.get("loss")) is not None:
        if fit["warnings"]:
            found.append(("sizes: no recommendation; these runs do not tell the law", "; ".join(fit["warnings"])))
        else:
            found += _sizes(points, fit)
        if fit["tells"]:
            found.append(_next_run(points, fit))
    if (fit := fits.get("mixture")) is not None:
        shares = ", ".join(f"{name.removeprefix('share/')} {value:.0%}" for name, value in fit["constants"].items())
        low, high = fit["predicted_gain"]["interval"]
        found.append((
            f"mixture: {shares}",
            f"{fit['predicted_gain']['value']:.3f} nats below {fit['compared_with']} by the {fit['law']} law "
            f"(95 %: {low:.3f} to {high:.3f}); runs held out were foretold within {fit['held_out']['mean_error']:.1%}",
        ))  # fmt: skip
    for kind in ("learning_rate", "batch"):
        if (fit := fits.get(kind)) is not None:
            law = ", ".join(f"{name} {value:.3g}" for name, value in fit["constants"].items())
            largest = max(fit["best"], key=lambda one: one["params"] * one["tokens"])
            found.append((f"{kind} at the largest size: {largest[kind]:.3g}", f"{fit['form']}; {law}"))
    if (fit := fits.get("curriculum")) is not None:
        sure = [one for one in fit["compared"] if one["significant"]]
        evidence = "; ".join(
            f"{one['name']} {one['difference']:+.4f}, p {one['p_holm']:.3f}" for one in fit["compared"]
        )
        best = fit["best"] if sure else f"{fit['baseline']} (no difference is significant)"
        found.append((f"order: {best}", f"against {fit['baseline']}: {evidence}"))
    return found


def _sizes(points: Points, fit: dict[str, Any]) -> list[tuple[str, str]]:
    E, A, B, alpha, beta = (fit["constants"][name] for name in CONSTANTS)
    law = LossLaw("this sweep", "", E=E, A=A, B=B, alpha=alpha, beta=beta, draws=tuple(map(tuple, fit["draws"])))
    largest, found = float(points.number("flops").max()), []
    for factor in _LARGER:
        params, tokens = law.best_params(factor * largest), law.best_tokens(factor * largest)
        low, high = law.interval(params, tokens) or (np.nan, np.nan)
        budget = f"{factor * largest:.2g} FLOPs ({factor} × the largest run)"
        found.append((
            f"with {budget}: {params:.3g} parameters, {tokens:.3g} tokens",
            f"loss {float(law.loss(params, tokens)):.3f} (95 %: {low:.3f} to {high:.3f})",
        ))  # fmt: skip
    return found


def _next_run(points: Points, fit: dict[str, Any]) -> tuple[str, str]:
    """The run, no dearer than the largest so far, that would narrow the forecast at 100 times the compute most.

    Over the refits, what a run's loss and the forecast have in common is what measuring the first tells of the second.
    """
    draws, residual = np.array(fit["draws"]), fit["residual"]
    params, tokens = points.number("params"), points.number("tokens")
    flops = 6 * params * tokens
    centre = np.median(draws, axis=0)
    law = LossLaw("", "", **dict(zip(CONSTANTS, centre.tolist(), strict=True)))  # pyright: ignore[reportArgumentType]
    far = 100 * float(flops.max())
    target = predict(draws, np.array([law.best_params(far)]), np.array([law.best_tokens(far)]))[:, 0]
    N, D = (
        axis.ravel()
        for axis in np.meshgrid(
            np.geomspace(params.min() / 2, params.max() * 2, 15), np.geomspace(tokens.min() / 2, tokens.max() * 4, 15)
        )
    )
    N, D = N[6 * N * D <= flops.max()], D[6 * N * D <= flops.max()]
    losses = predict(draws, N, D)
    common = ((losses - losses.mean(axis=0)) * (target - target.mean())[:, None]).mean(axis=0)
    noise = (residual * losses.mean(axis=0)) ** 2
    narrowed = common**2 / (losses.var(axis=0) + noise)
    best = int(np.argmax(narrowed))
    left = np.sqrt(max(1 - narrowed[best] / max(target.var(), 1e-30), 0))
    return (
        f"next run: {N[best]:.3g} parameters on {D[best]:.3g} tokens ({6 * N[best] * D[best]:.2g} FLOPs)",
        f"no dearer than the largest so far; would narrow the forecast at {far:.2g} FLOPs to about {left:.0%} of its "
        "spread",
    )
