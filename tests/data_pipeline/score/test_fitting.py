"""The loss against a plain reference and finite differences, the fits against closed forms."""

import numpy as np
import pytest
from scipy import optimize, sparse

from data_pipeline.score import fitting, measures


def _problem(texts=40, columns=6, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = sparse.random_array((texts, columns), density=0.5, rng=rng, format="csr")
    targets = rng.dirichlet(np.ones(classes), texts)
    return sparse.csr_array(rows), targets, rng.normal(size=(columns + 1) * classes)


def _reference(flat, dense, targets, strength, regression):
    """Text by text, with the formula written out."""
    classes = targets.shape[1]
    weights, bias = flat[:-classes].reshape(-1, classes), flat[-classes:]
    total = 0.0
    for row, target in zip(dense, targets, strict=True):
        outputs = row @ weights + bias
        if regression:
            total += 0.5 * np.sum((outputs - target) ** 2)
        else:
            total += -np.sum(target * np.log(np.exp(outputs) / np.exp(outputs).sum()))
    return total / len(dense) + np.sum(weights**2) / (2 * strength * len(dense))


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("strength", [0.5, 100.0])
def test_loss_and_gradient_against_the_formula(strength, regression):
    rows, targets, flat = _problem()
    loss, gradient = fitting.loss_and_gradient(flat, rows, targets, strength, regression)
    reference = lambda point: _reference(point, rows.toarray(), targets, strength, regression)  # noqa: E731
    assert loss == pytest.approx(reference(flat), rel=1e-12)
    np.testing.assert_allclose(gradient, optimize.approx_fprime(flat, reference, 1e-6), rtol=1e-4, atol=1e-6)


def test_loss_of_huge_logits_is_finite():
    rows, targets, flat = _problem()
    loss, gradient = fitting.loss_and_gradient(flat * 1e5, rows, targets, 1.0, False)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_least_squares_against_the_normal_equations():
    rows, targets, _ = _problem(classes=1, texts=60)
    wanted = targets * 0 + rows.toarray()[:, :1] * 3 - rows.toarray()[:, 1:2] + 0.5
    found = fitting.fit(rows, wanted, strength=5.0, regression=True)
    full = np.hstack([rows.toarray(), np.ones((60, 1))])
    decay = np.diag([1 / 5.0] * 6 + [0.0])
    expected = np.linalg.solve(full.T @ full + decay, full.T @ wanted)
    np.testing.assert_allclose(found.outputs(rows), full @ expected, atol=0.02)


def test_softmax_fit_against_scipy():
    rows, targets, _ = _problem(texts=80)
    arguments = (rows, targets, 10.0, False)
    best = optimize.minimize(fitting.loss_and_gradient, np.zeros(21), args=arguments, jac=True, method="BFGS")
    found = fitting.fit(rows, targets, 10.0)
    loss, _ = fitting.loss_and_gradient(np.append(found.weights.ravel(), found.bias), *arguments)
    assert best.fun <= loss <= best.fun * (1 + 1e-3)


def test_few_texts_of_many_columns_fit_as_any(monkeypatch):
    rng = np.random.default_rng(3)
    rows = sparse.csr_array(sparse.random_array((50, 600), density=0.05, rng=rng, format="csr"))
    rows = sparse.csr_array(sparse.vstack([rows, rows[:5], sparse.csr_array((2, 600))]))  # equal texts, and empty ones
    targets = rng.dirichlet(np.ones(4), 57)
    monkeypatch.setattr(fitting, "_PRECISION", 1e-12)
    short = fitting.fit(rows, targets, 3.0)
    monkeypatch.setattr(fitting, "_FEW_TEXTS", 0)
    long = fitting.fit(rows, targets, 3.0)
    np.testing.assert_allclose(short.weights, long.weights, atol=1e-4)
    np.testing.assert_allclose(short.bias, long.bias, atol=1e-4)


def test_biases_are_not_drawn_to_zero():
    rows = sparse.csr_array((50, 3))
    found = fitting.fit(rows, np.full((50, 1), 7.0), strength=1e-6, regression=True)
    assert found.bias[0] == pytest.approx(7, abs=1e-3)


@pytest.mark.parametrize("heat", [0.2, 1.0, 6.0])
def test_temperature_undoes_a_factor(heat):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 4)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert fitting.temperature(logits * heat, np.eye(4)[labels]) == pytest.approx(heat, rel=0.1)
    assert fitting.temperature(logits * heat, measures.softmax(logits)) == pytest.approx(heat, rel=0.02)


def test_temperature_of_hard_targets_is_that_of_measures():
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    assert fitting.temperature(logits, np.eye(3)[labels]) == pytest.approx(
        measures.temperature(logits, labels), rel=1e-2
    )


@pytest.mark.parametrize("texts", [1, 3, 17, 4999])
def test_folds_hold_out_each_row_once(texts):
    assert sorted(np.concatenate(fitting.folds(texts, seed=0)).tolist()) == list(range(texts))
    assert len(fitting.folds(texts, seed=0)) == min(texts, 5)


def test_of_many_texts_one_fold_is_enough():
    [part] = fitting.folds(5000, seed=0)
    assert len(part) == 1000
    assert len(np.concatenate(fitting.folds(5000, seed=0, all_rows=True))) == 5000
