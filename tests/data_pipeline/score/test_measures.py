"""Measures against sums done by hand and definitions written out in loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.score import measures


def _drawn(seed: int, texts: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the probabilities that they mean: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    logits_TC = 2 * rng.normal(size=(texts, classes))
    return logits_TC, np.array([rng.choice(classes, p=row) for row in measures.softmax(logits_TC)])


def test_by_hand():
    """Six texts, three classes, one of them never named and never right."""
    found = [0, 0, 1, 1, 1, 0]
    labels_T = np.array([0, 1, 1, 1, 0, 2])
    scores_TC = np.eye(3)[found]
    assert measures.accuracy(scores_TC, labels_T) == 3 / 6
    # class 0: 1 right, named 3, are 2; class 1: 2 right, named 3, are 3; class 2: none right, named 0, is 1
    assert measures.macro_f1(scores_TC, labels_T) == pytest.approx((2 / 5 + 4 / 6 + 0) / 3)
    # A fourth class that is neither named nor there changes nothing.
    assert measures.macro_f1(np.pad(scores_TC, ((0, 0), (0, 1))), labels_T) == pytest.approx((2 / 5 + 4 / 6) / 3)
    assert measures.calibration_error(scores_TC, labels_T) == 1 - 3 / 6


@given(st.integers(0, 10_000), st.integers(1, 20))
def test_calibration_error_as_defined(seed, bins):
    logits_TC, labels_T = _drawn(seed, texts=50)
    probabilities_TC = measures.softmax(logits_TC)
    expected = 0.0
    for b in range(bins):
        members = [i for i, row in enumerate(probabilities_TC) if b / bins < row.max() <= (b + 1) / bins]
        if members:
            right = sum(probabilities_TC[i].argmax() == labels_T[i] for i in members) / len(members)
            sure = sum(probabilities_TC[i].max() for i in members) / len(members)
            expected += len(members) / len(labels_T) * abs(right - sure)
    assert measures.calibration_error(probabilities_TC, labels_T, bins) == pytest.approx(expected)


@pytest.mark.parametrize("overconfident", [0.3, 1.0, 5.0])
def test_temperature(overconfident):
    """It finds by how much logits were blown up, and no other divisor makes the loss less."""
    logits_TC, labels_T = _drawn(0)
    base = measures.temperature(logits_TC, labels_T)
    assert base == pytest.approx(1, abs=0.15)
    found = measures.temperature(logits_TC * overconfident, labels_T)
    assert found == pytest.approx(base * overconfident, rel=1e-3)
    best = _platt_loss(logits_TC * overconfident / found, labels_T)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2):
        assert _platt_loss(logits_TC * overconfident / (found * factor), labels_T) > best


def _platt_loss(logits_TC, labels_T) -> float:
    """Cross-entropy towards 401 / 402 on the label and the rest on the three others, written out."""
    probabilities_TC, loss = measures.softmax(logits_TC), 0.0
    for row, label in zip(probabilities_TC, labels_T, strict=True):
        for c, p in enumerate(row):
            loss -= (401 / 402 if c == label else 1 / 402 / 3) * math.log(p)
    return loss


def test_temperature_where_all_is_right():
    """Ten of ten right says no more than that eleven of twelve would be: Platt's targets, not certainty."""
    logits_TC = 3 * np.eye(2)[np.arange(10) % 2]
    found = measures.temperature(logits_TC, np.arange(10) % 2)
    assert measures.softmax(logits_TC / found).max() == pytest.approx(11 / 12, abs=1e-3)


def test_temperature_mends_calibration():
    logits_TC, labels_T = _drawn(1, texts=4000)
    before, after = (measures.of_classes(logits_TC * 4 / t, labels_T) for t in (1, 4))
    assert after["calibration_error"] < 0.03 < 0.1 < before["calibration_error"]
    assert (before["accuracy"], before["macro_f1"]) == (after["accuracy"], after["macro_f1"])
    assert after["cross_entropy"] < before["cross_entropy"]


def test_cross_entropy_of_large_logits():
    logits_TC = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    assert measures.cross_entropy(logits_TC, np.array([0, 0])) == 500
    np.testing.assert_array_equal(measures.softmax(logits_TC), np.eye(2))
    assert measures.cross_entropy(np.zeros((1, 8)), np.array([3])) == pytest.approx(math.log(8))


def test_of_values():
    wanted = np.array([1.0, 2.0, 3.0, 4.0])
    assert measures.of_values(wanted, wanted) == {"mean_absolute_error": 0, "r2": 1, "spearman": pytest.approx(1)}
    assert measures.of_values(wanted[::-1], wanted)["spearman"] == pytest.approx(-1)
    assert measures.of_values(np.full(4, 2.5), wanted) == {"mean_absolute_error": 1, "r2": 0, "spearman": 0}
    # Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: Pearson's correlation of them is 4.5 / sqrt(4.5 · 5).
    assert measures.of_values(np.array([7.0, 7.0, 8.0, 100.0]), wanted)["spearman"] == pytest.approx(0.9**0.5)
