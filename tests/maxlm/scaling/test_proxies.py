"""The real sweep of tools/proxies.py, its results: five sizes by four budgets; mixtures of three domains."""

from pathlib import Path

import numpy as np
import pytest

from maxlm.scaling import loss_fit, mixture
from maxlm.scaling.points import read_points

HERE = Path(__file__).parent


@pytest.mark.parametrize("share", [0.05, 0.2])  # the largest run; the four of most compute
def test_the_larger_runs_are_foretold_by_the_smaller(share):
    found = loss_fit.fit(read_points(HERE / "proxies_sizes.jsonl"), hold_out=share, delta=1e-3, refits=50, seed=0)
    assert found["points"] == 20
    assert found["tells"]
    assert found["held_out"]["points"] == round(20 * share)
    assert found["held_out"]["largest_error"] < 0.03


def _errors_of(left_out: str) -> np.ndarray:
    """Relative errors on the runs with the most of a column, by a law of all the others."""
    ran = read_points(HERE / "proxies_sizes.jsonl")
    values = ran.columns[left_out]
    most = values == values.max()
    law = loss_fit.fit(ran.only(np.flatnonzero(~most)), hold_out=0.0, delta=1e-3, refits=5, seed=0)["constants"]
    held = ran.only(np.flatnonzero(most))
    foretold = (
        law["E"] + law["A"] / held.columns["params"] ** law["alpha"] + law["B"] / held.columns["tokens"] ** law["beta"]
    )
    return np.abs(foretold / held.columns["loss"] - 1)


def test_the_largest_size_is_foretold_by_the_smaller_ones():
    assert _errors_of("params").max() < 0.03


def test_the_most_tokens_are_foretold_by_fewer_but_not_to_three_percent():
    assert 0.03 < _errors_of("tokens").max() < 0.035


def test_the_mixture_recommended_was_better_when_it_was_run():
    ran = read_points(HERE / "proxies_mixtures.jsonl")
    natural = {name: ran.where("data", "natural").columns[f"share/{name}"][0] for name in ("en", "code", "zh")}
    twelve = ran.only(np.array([i for i, name in enumerate(ran.word("data")) if name.startswith("m")]))
    bounds = dict.fromkeys(natural, (0.05, 1.0))
    found = mixture.fit(twelve, bounds=bounds, natural=natural, refits=5)
    assert found["points"] == 12
    assert found["held_out"]["mean_error"] < 0.02
    best = ran.where("data", "recommended")
    for name in natural:
        assert found["constants"][f"share/{name}"] == pytest.approx(best.columns[f"share/{name}"][0], abs=0.01)

    def mean_loss(data: str) -> float:
        rows = ran.where("data", data)
        return sum(float(rows.columns[f"loss/{name}"].mean()) for name in natural) / len(natural)

    gain = mean_loss("natural") - mean_loss("recommended")
    assert gain > 0
    assert found["predicted_gain"]["value"] == pytest.approx(gain, abs=0.02)
