"""Comparisons over seeds: what differs is found, and what does not is not."""

import numpy as np
import pytest
from scipy import stats

from maxlm.errors import DataError
from maxlm.scaling import compare
from tests.maxlm.scaling.made import points


def runs(shift: float, seeds: int = 5, rng=None):
    rng = rng or np.random.default_rng(0)
    base = 3 + 0.01 * rng.standard_normal(seeds)
    other = base + shift + 0.003 * rng.standard_normal(seeds)
    order = ["random"] * seeds + ["easy first"] * seeds
    return points({"order": order}, seed=[*range(seeds)] * 2, loss=[*base, *other])


def test_a_difference_is_found():
    found = compare.fit(runs(-0.02), "order")
    (one,) = found["compared"]
    assert one["significant"]
    assert one["interval"][0] < -0.02 < one["interval"][1]
    assert one["p"] == pytest.approx(2 / 2**5)  # the least that five pairs can give
    assert found["best"] == "easy first"


def test_chance_is_called_chance():
    rng = np.random.default_rng(1)
    called = sum(compare.fit(runs(0.0, rng=rng), "order")["compared"][0]["significant"] for _ in range(200))
    assert called <= 20  # 5 % are to be expected


def test_against_scipy():
    made = runs(-0.004)
    losses = made.number("loss")
    (one,) = compare.fit(made, "order")["compared"]
    assert one["p_t"] == pytest.approx(stats.ttest_rel(losses[5:], losses[:5]).pvalue)


def test_without_common_seeds():
    made = runs(-0.05)
    made.columns["seed"][5:] += 100
    (one,) = compare.fit(made, "order")["compared"]
    assert one["test"] == "Welch's t"
    assert one["significant"]


def test_what_cannot_be_compared():
    with pytest.raises(DataError, match="order has one value only"):
        compare.fit(runs(0).only(np.arange(5)), "order")
    with pytest.raises(DataError, match="run once; significance needs two seeds"):
        compare.fit(runs(0).only(np.arange(6)), "order")
    with pytest.raises(DataError, match="--baseline=none is no value of order; there are random, easy first"):
        compare.fit(runs(0), "order", "none")
    made = runs(0)
    made.columns["seed"][1] = 0
    with pytest.raises(DataError, match="two runs of order=random with the same seed"):
        compare.fit(made, "order")
