import numpy as np
import pytest

from data_pipeline.score import probe


def drawn(count, seed, num_labels=4, width=12):
    """Features around a place for each class, of very different spreads; one of them is constant."""
    rng = np.random.default_rng(0)
    places, scales = rng.normal(size=(num_labels, width)), 10.0 ** rng.uniform(-3, 3, width)
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_labels, size=count)
    features = (places[labels] + 0.3 * rng.normal(size=(count, width))) * scales + 5
    return np.concatenate([features, np.full((count, 1), 7.0)], axis=1).astype(np.float32), labels


def test_classes_that_lie_apart_are_told_apart_whatever_the_features_spread():
    seen, labels = drawn(200, 1)
    head = probe.fit_head(seen, labels, *drawn(50, 2), num_labels=4, regression=False, seed=0)
    assert (head["kernel"].shape, head["bias"].shape) == ((13, 4), (4,))
    others, expected = drawn(500, 3)
    assert np.mean(np.argmax(others @ head["kernel"] + head["bias"], axis=1) == expected) > 0.97


def test_values_are_met():
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(300, 5)) * [1, 10, 0.1, 3, 1] + 2, rng.normal(size=5)
    values = features @ weights - 4
    head = probe.fit_head(features[:200], values[:200], features[200:250], values[200:250], 1, regression=True, seed=0)
    found = features[250:] @ head["kernel"][:, 0] + head["bias"][0]
    assert found == pytest.approx(values[250:], abs=0.05 * values.std())


def test_a_sample_is_enough_and_is_the_same_for_a_seed(monkeypatch):
    monkeypatch.setattr(probe, "_MOST_TEXTS", 100)
    seen, labels = drawn(2000, 1)
    heads = [probe.fit_head(seen, labels, *drawn(50, 2), num_labels=4, regression=False, seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(heads[0]["kernel"], heads[1]["kernel"])
    assert (heads[0]["kernel"] != heads[2]["kernel"]).any()
    others, expected = drawn(500, 3)
    assert np.mean(np.argmax(others @ heads[0]["kernel"] + heads[0]["bias"], axis=1) == expected) > 0.95
