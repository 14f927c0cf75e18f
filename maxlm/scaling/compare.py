"""Curricula, or any other choice, compared over seeds: differences, their intervals, and whether they are chance."""

import itertools
from typing import Any

import numpy as np
from scipy import stats

from maxlm.errors import DataError
from maxlm.scaling.figures import figure, series
from maxlm.scaling.points import Array, Points

_EXACT_UP_TO = 14  # pairs; their signs are then all tried
_SETTINGS = ("params", "tokens", "learning_rate", "batch")  # that two runs of a pair share


def fit(points: Points, by: str, baseline: str | None = None) -> dict[str, Any]:
    """Every value of the column `by` against the baseline, on runs of equal seeds and sizes.

    Differences are paired where the same seeds, sizes and rates were run, else Welch's test is used; p-values are
    Holm's, so that with many comparisons chance does not pass for a finding.

    Raises:
      DataError: one kind only, or a single run of a kind.
    """
    words, losses = points.word(by), points.number("loss")
    columns = [points.word(name) for name in ("seed", *_SETTINGS) if points.has(name)]
    places = ["-".join(values) for values in zip(*columns, strict=True)] or [str(i) for i in range(len(losses))]
    runs: dict[str, dict[str, float]] = {}
    for word, place, loss in zip(words, places, losses.tolist(), strict=True):
        if place in runs.setdefault(word, {}):
            raise DataError(
                f"{points.source}: two runs of {by}={word} with the same seed and settings ({place}); other settings "
                "differ: choose runs with --where"
            )
        runs[word][place] = loss
    if len(runs) < 2:
        raise DataError(f"{points.source}: {by} has one value only, {words[0]!r}; nothing to compare")
    if few := [word for word, of in runs.items() if len(of) < 2]:
        raise DataError(f"{points.source}: {by}={few[0]} was run once; significance needs two seeds or more of each")
    first = baseline if baseline is not None else words[0]
    if first not in runs:
        raise DataError(f"{points.source}: --baseline={first} is no value of {by}; there are {', '.join(runs)}")
    compared = [_compare(name, runs[name], runs[first]) for name in runs if name != first]
    _holm(compared)
    means = {name: float(np.mean(list(of.values()))) for name, of in runs.items()}
    return {
        "kind": "curriculum", "data": points.source, "points": len(losses), "form": f"mean loss by {by}",
        "baseline": first, "constants": means,
        "intervals": {name: _interval(np.array(list(of.values()))) for name, of in runs.items()},
        "compared": compared, "held_out": None,
        "best": min(means, key=lambda name: means[name]),
        "figures": [
            figure(
                f"loss by {by}, a dot for each seed", by, "loss",
                dots=[series(name, [i] * len(of), list(of.values())) for i, (name, of) in enumerate(runs.items())],
            )
        ],
    }  # fmt: skip


def _compare(name: str, runs: dict[str, float], base: dict[str, float]) -> dict[str, Any]:
    common = sorted(runs.keys() & base.keys())
    if len(common) >= 2:
        differences = np.array([runs[seed] - base[seed] for seed in common])
        low, high = _interval(differences)
        found = {"test": "paired, signs permuted", "pairs": len(common), "p": _sign_test(differences)}
        paired: Any = stats.ttest_1samp(differences, 0.0)
        found["p_t"] = float(paired.pvalue)
        return {"name": name, "difference": float(differences.mean()), "interval": [low, high], **found}
    a, b = np.array(list(runs.values())), np.array(list(base.values()))
    result: Any = stats.ttest_ind(a, b, equal_var=False)
    ends = result.confidence_interval(0.95)
    return {
        "name": name, "difference": float(a.mean() - b.mean()), "interval": [float(ends.low), float(ends.high)],
        "test": "Welch's t", "pairs": 0, "p": float(result.pvalue), "p_t": float(result.pvalue),
    }  # fmt: skip


def _sign_test(differences: Array) -> float:
    """Share of the ways to swap the two runs of each pair that give so large a mean difference (two-sided)."""
    number = len(differences)
    if number <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1, 1), repeat=number)), float)
    else:
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(20_000, number))
    means = np.abs(signs @ differences) / number
    return float(np.mean(means >= abs(differences.mean()) - 1e-12))


def _holm(compared: list[dict[str, Any]]) -> None:
    """Adjusts t-test p-values in place (Holm, 1979)."""
    running, number = 0.0, len(compared)
    for i, one in enumerate(sorted(compared, key=lambda one: one["p_t"])):
        running = max(running, min(1.0, (number - i) * one["p_t"]))
        one["p_holm"], one["significant"] = running, running < 0.05


def _interval(values: Array) -> list[float]:
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return [float(values.mean()) - half, float(values.mean()) + half]
