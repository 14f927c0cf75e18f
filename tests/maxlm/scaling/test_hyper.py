"""Power laws of the best learning rate on runs of a known one."""

import numpy as np
import pytest

from maxlm.errors import DataError
from maxlm.scaling import hyper
from tests.maxlm.scaling.made import points


def runs(noise: float = 0.0, spread: float = 8.0):
    rng, rows = np.random.default_rng(0), []
    for params in (1e6, 4e6, 16e6, 64e6):
        for tokens in (2e8, 1e9, 5e9):
            best = 1.79 * params**-0.713 * tokens**0.307  # Li et al., 2025 (Step Law)
            for factor in np.geomspace(1 / spread, spread, 7):
                loss = 3 + 0.02 * np.log(factor) ** 2 + noise * rng.standard_normal()
                rows.append((params, tokens, best * factor, loss))
    params, tokens, rates, losses = np.array(rows).T
    return points(params=params, tokens=tokens, learning_rate=rates, loss=losses)


def test_the_law_comes_back():
    found = hyper.fit(runs(), "learning_rate")
    assert found["constants"] == pytest.approx(
        {"k": 1.79, "params_exponent": -0.713, "tokens_exponent": 0.307}, rel=1e-6
    )
    assert found["held_out"]["largest_error"] < 1e-6  # fmt: skip


def test_its_intervals_hold_the_truth():
    found = hyper.fit(runs(noise=0.003), "learning_rate")
    for name, truth in (("params_exponent", -0.713), ("tokens_exponent", 0.307)):
        low, high = found["intervals"][name]
        assert low <= truth <= high
        assert high - low < 0.3


def test_best_at_the_edge_is_no_best():
    made = runs()
    best = 1.79 * made.number("params") ** -0.713 * made.number("tokens") ** 0.307
    low = made.only(np.flatnonzero(made.number("learning_rate") < 0.9 * best))
    with pytest.raises(DataError, match="0 pairs of size and tokens have a least loss within"):
        hyper.fit(low, "learning_rate")
