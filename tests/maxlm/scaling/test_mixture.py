"""Mixture laws on runs of a known one."""

import numpy as np
import pytest
from scipy import optimize

from maxlm.errors import ConfigError, DataError
from maxlm.scaling import mixture
from tests.maxlm.scaling.made import points

T = np.array([[-1.2, -0.1, 0.2], [0.1, -0.9, 0.0], [0.3, 0.1, -1.5]])  # of target i and share j
FLOORS = np.array([1.8, 2.0, 1.5])


def true_losses(shares: np.ndarray) -> np.ndarray:
    return FLOORS + np.exp(0.6 + shares @ T.T)


def runs(number: int = 12, noise: float = 0.0):
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(3), number)
    losses = true_losses(shares) * np.exp(noise * rng.standard_normal((number, 3)))
    columns = {f"share__{name}": shares[:, i] for i, name in enumerate(("zh", "en", "code"))}
    return points(**columns, **{f"loss__{name}": losses[:, i] for i, name in enumerate(("zh", "en", "code"))})


def test_twelve_mixtures_are_enough():
    found = mixture.fit(runs(noise=0.002), refits=10)
    assert found["law"] == "exponential"
    assert found["held_out"]["mean_error"] < 0.01
    least = optimize.minimize(
        lambda r: true_losses(r[None])[0].mean(), np.full(3, 1 / 3), bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
    )  # fmt: skip
    chosen = np.array(list(found["constants"].values()))
    assert chosen.sum() == pytest.approx(1)
    assert true_losses(chosen[None])[0].mean() <= least.fun + 0.005
    assert found["predicted_gain"]["value"] > 0
    assert true_losses(chosen[None])[0].mean() < true_losses(np.full((1, 3), 1 / 3))[0].mean()


def test_what_is_asked_for_is_what_is_made_small():
    found = mixture.fit(runs(), weights={"code": 1.0}, refits=2)
    assert found["constants"]["share/code"] > 0.9


def test_limits_hold():
    bounds = {"code": (0.1, 0.25), "zh": (0.3, 1.0)}
    chosen = mixture.fit(runs(), weights={"code": 1.0}, bounds=bounds, refits=2)["constants"]
    assert chosen["share/code"] == pytest.approx(0.25, abs=1e-6)
    assert chosen["share/zh"] >= 0.3 - 1e-9


def test_a_regression_where_shares_repel():
    """A loss with a valley between two domains, which no exponential has."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), 24)
    loss = 3 - 2 * shares[:, 0] * shares[:, 1]
    made = points(share__a=shares[:, 0], share__b=shares[:, 1], share__c=shares[:, 2], loss=loss)
    found = mixture.fit(made, refits=2)
    assert found["law"] == "regression"
    assert found["constants"] == pytest.approx({"share/a": 0.5, "share/b": 0.5, "share/c": 0.0}, abs=0.03)


def test_what_cannot_be_fitted():
    with pytest.raises(DataError, match="5 mixtures of 3 domains; 6 at least"):
        mixture.fit(runs(5))
    with pytest.raises(ConfigError, match="--target cod: no column loss/cod in made; did you mean 'code'"):
        mixture.fit(runs(), weights={"cod": 1.0})
    with pytest.raises(ConfigError, match=r"least shares sum to 1\.2"):
        mixture.fit(runs(), bounds={"zh": (0.6, 1), "en": (0.6, 1)})
    mixed = runs()
    mixed.columns["params"] = np.array([1e6] * 6 + [2e6] * 6)
    with pytest.raises(
        DataError, match="runs of different params; a mixture law is of runs that differ in nothing else"
    ):
        mixture.fit(mixed)
    with pytest.raises(DataError, match=r"row 2: shares sum to 0.7"):
        mixture.fit(points(share__a=[0.5, 0.5], share__b=[0.5, 0.2], loss=[1, 1]))
