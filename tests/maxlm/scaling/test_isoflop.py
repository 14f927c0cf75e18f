"""Parabolas on runs of a known law."""

import numpy as np
import pytest

from maxlm.errors import DataError
from maxlm.scaling import isoflop
from maxlm.scaling.laws import law
from maxlm.scaling.parametric import predict
from tests.maxlm.scaling.made import points
from tests.maxlm.scaling.test_parametric import TRUE

LAW = law("chinchilla-corrected")


def runs(noise: float, span: float = 4.0):
    rng = np.random.default_rng(0)
    flops = np.repeat(np.geomspace(1e18, 1e21, 6), 9)
    params = np.array([LAW.best_params(c) for c in flops]) * np.tile(np.geomspace(1 / span, span, 9), 6)
    losses = predict(TRUE, params, flops / 6 / params) * np.exp(noise * rng.standard_normal(len(flops)))
    return points(params=params, flops=flops * np.exp(0.01 * rng.standard_normal(len(flops))), loss=losses)


def test_the_exponent():
    found = isoflop.fit(runs(0.002), refits=100, seed=0)
    truth = TRUE[4] / (TRUE[3] + TRUE[4])
    low, high = found["intervals"]["exponent"]
    assert low <= truth <= high
    assert found["constants"]["exponent"] == pytest.approx(truth, abs=0.03)
    assert found["held_out"]["largest_error"] < 0.2


def test_the_sizes():
    for one in isoflop.fit(runs(0.0, span=2.0), refits=2, seed=0)["budgets"]:
        assert one["params"] == pytest.approx(LAW.best_params(one["flops"]), rel=0.05)


def test_no_valley():
    made = runs(0.0)
    big = made.only(
        np.flatnonzero(made.number("params") > 2 * np.array([LAW.best_params(c) for c in made.number("flops")]))
    )
    with pytest.raises(DataError, match="0 compute budgets have a least loss within their sizes"):
        isoflop.fit(big, refits=2, seed=0)  # fmt: skip
