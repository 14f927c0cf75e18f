"""L(N, D) on points of known constants, and on those that were read off Hoffmann et al.'s figure."""

import csv
from pathlib import Path

import numpy as np
import pytest

from maxlm.errors import DataError
from maxlm.scaling.parametric import fit_loss, predict

TRUE = np.array([1.8172, 482.01, 2085.43, 0.3478, 0.3658])  # Besiroglu et al., 2024 (arXiv 2404.10102)


def runs(sizes: int = 8, budgets: int = 5) -> tuple[np.ndarray, np.ndarray]:
    params, flops = np.meshgrid(np.geomspace(5e7, 5e9, sizes), np.geomspace(1e18, 1e21, budgets))
    return params.ravel(), flops.ravel() / 6 / params.ravel()


def test_without_noise_the_constants_come_back():
    params, tokens = runs()
    found = fit_loss(params, tokens, predict(TRUE, params, tokens), refits=1)
    np.testing.assert_allclose(found.constants, TRUE, rtol=1e-3)


def test_intervals_hold_the_truth():
    """Of 100 trials (35 runs, half a percent of noise) 90 or more have a constant in its 95 % interval, for each."""
    params, tokens = runs(sizes=7)
    rng, hits = np.random.default_rng(1), np.zeros(5)
    for trial in range(100):
        losses = predict(TRUE, params, tokens) * np.exp(0.005 * rng.standard_normal(len(params)))
        low, high = fit_loss(params, tokens, losses, refits=100, seed=trial).interval()
        hits += (low <= TRUE) & (high >= TRUE)
        assert (high - low)[3:].max() < 0.5  # and says something
    assert hits.min() >= 90, hits


def test_one_run_gone_astray_does_not_matter():
    params, tokens = runs()
    losses = predict(TRUE, params, tokens) * np.exp(0.001 * np.random.default_rng(0).standard_normal(len(params)))
    clean = fit_loss(params, tokens, losses, refits=1).constants
    losses[7] *= 1.5
    astray = fit_loss(params, tokens, losses, refits=1).constants
    assert astray[3] == pytest.approx(clean[3], abs=0.03)
    assert astray[0] == pytest.approx(clean[0], abs=0.03)


def test_the_same_seed_gives_the_same():
    params, tokens = runs()
    losses = predict(TRUE, params, tokens) * np.exp(0.01 * np.random.default_rng(0).standard_normal(len(params)))
    a, b = (fit_loss(params, tokens, losses, refits=20, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.draws, b.draws)


def test_too_little_to_tell():
    params, tokens = runs()
    losses = predict(TRUE, params, tokens)
    with pytest.raises(DataError, match="7 points are too few"):
        fit_loss(params[:7], tokens[:7], losses[:7])
    with pytest.raises(DataError, match="fewer than three sizes"):
        fit_loss(np.full(40, 1e9), tokens, losses)
    with pytest.raises(DataError, match="fewer than three numbers of tokens"):
        fit_loss(params, np.full(40, 1e9), losses)


def test_the_replication_of_chinchilla():
    """epoch-research/analyzing-chinchilla (commit 9225883): 245 points read off figure 4, the 5 highest losses dropped.

    The argmin of the sum of Huber losses (objective 1.018274e-3) beats the constants that Besiroglu et al. published
    (1.02284e-3); they lie in its intervals. Their bootstrap's standard errors: E 0.026, α 0.015.
    """
    with (Path(__file__).parent / "chinchilla_points.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["loss"]))[:-5]
    params, flops, losses = (np.array([float(row[k]) for row in rows]) for k in ("Model Size", "Training FLOP", "loss"))
    found = fit_loss(params, flops / 6 / params, losses)
    assert found.objective <= 1.01830e-3
    E, _, _, alpha, beta = found.constants
    assert pytest.approx(1.81722, abs=1e-4) == E
    assert (alpha, beta, beta / (alpha + beta)) == pytest.approx((0.34731, 0.36717, 0.51390), abs=2e-4)
    low, high = found.interval()
    assert np.all((low <= TRUE) & (high >= TRUE))
    assert found.draws[:, 0].std() == pytest.approx(0.026, rel=0.2)
    assert found.draws[:, 3].std() == pytest.approx(0.015, rel=0.2)
