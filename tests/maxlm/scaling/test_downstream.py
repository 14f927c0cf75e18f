"""Two steps to a benchmark, on runs of known curves."""

import numpy as np
import pytest

from maxlm.errors import DataError
from maxlm.scaling import downstream
from tests.maxlm.scaling.made import points

POWER, SIGMOID = np.array([0.6, 0.9, 0.12]), np.array([0.25, 0.95, 6.0, 1.1])


def runs(noise: float = 0.0, number: int = 12, largest: float = 1e22):
    rng, flops = np.random.default_rng(0), np.geomspace(1e18, largest, number)
    losses = downstream.loss_at(POWER, flops) * np.exp(noise * rng.standard_normal(number))
    accuracies = downstream.accuracy_at(SIGMOID, losses) + noise * rng.standard_normal(number)
    return points(flops=flops, loss__arc=losses, accuracy__arc=accuracies)


def test_the_curves_come_back():
    found = downstream.fit(runs(), "arc", chance=0.25, refits=2, seed=0)
    constants = found["constants"]
    assert [constants[name] for name in ("E", "A", "alpha")] == pytest.approx(POWER, rel=1e-2)
    assert [constants[name] for name in ("floor", "ceiling", "slope", "middle")] == pytest.approx(SIGMOID, rel=1e-2)


def test_the_largest_is_foretold():
    """Within 2 points, which is what Bhagia et al., 2024 (OLMo's ladder) report for their tasks."""
    held_out = downstream.fit(runs(noise=0.005, number=16), "arc", chance=0.25, refits=2, seed=0)["held_out"]
    assert abs(held_out["rows"][0][-1]) < 0.02


def test_what_cannot_be_fitted():
    with pytest.raises(DataError, match="5 runs; 6 at least"):
        downstream.fit(runs(number=5), "arc", chance=None, refits=2, seed=0)
    with pytest.raises(DataError, match="no column 'loss/mmlu'"):
        downstream.fit(runs(), "mmlu", chance=None, refits=2, seed=0)
    made = runs()
    made.columns["accuracy/arc"] *= 100
    with pytest.raises(DataError, match="not per cent"):
        downstream.fit(made, "arc", chance=None, refits=2, seed=0)
