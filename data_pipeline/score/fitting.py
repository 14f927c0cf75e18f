"""The fit of a linear model: softmax or least squares over sparse rows, by L-BFGS, its strength chosen by folds.

Letters: T texts, F columns of the features, C classes (1 for a regression).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import numpy as np
from scipy import linalg, optimize, sparse

# C of a logistic regression: the weight of the texts against that of the norm.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_FOLDS = 5
_ONE_FOLD_FROM = 5_000  # texts: so many held out of a single fit say as much
_MEMORY = 7  # of L-BFGS: pairs of steps and changes of the gradient
_ITERATIONS = 100
_FEW_TEXTS = 4_000  # up to which their inner products are worked out, 128 MB
_HALVINGS = 30
# Relative change of the loss at which a fit ends: tighter moves no held-out figure.
_PRECISION = 1e-4


@dataclass(frozen=True)
class Fit:
    """Weights [F, C] and biases [C]; `texts @ weights + bias` is the logit, or the value."""

    weights: np.ndarray
    bias: np.ndarray

    def outputs(self, rows_TF: sparse.csr_array) -> np.ndarray:
        return rows_TF @ self.weights + self.bias


def loss_and_gradient(
    flat: np.ndarray, rows_TF: sparse.csr_array | np.ndarray, targets_TC: np.ndarray, strength: float, regression: bool
) -> tuple[float, np.ndarray]:
    """The mean cross-entropy (half the mean squared error) plus ``|weights|**2 / (2 * strength * T)``.

    Args:
      flat: weights and then biases, [(F + 1) * C]. Biases aren't drawn to 0.
      rows_TF: texts.
      targets_TC: the probability of each class, or the value.
      strength: C of a support vector machine or a logistic regression.
      regression: whether outputs are values, not logits.
    """
    num_texts, num_classes = targets_TC.shape
    weights_FC, bias_C = flat.reshape(-1, num_classes)[:-1], flat[-num_classes:]
    outputs_TC = rows_TF @ weights_FC + bias_C
    if regression:
        error_TC = outputs_TC - targets_TC
        loss = 0.5 * np.mean(np.sum(error_TC**2, axis=1))
    else:
        outputs_TC -= outputs_TC.max(axis=1, keepdims=True)
        log_sum_T1 = np.log(np.exp(outputs_TC).sum(axis=1, keepdims=True))
        error_TC = np.exp(outputs_TC - log_sum_T1) - targets_TC
        loss = np.mean(log_sum_T1[:, 0] - np.sum(outputs_TC * targets_TC, axis=1))
    decay = 1 / (strength * num_texts)
    error_TC /= num_texts
    gradient_FC = rows_TF.T @ error_TC + decay * weights_FC
    loss += 0.5 * decay * _dot(weights_FC.ravel(), weights_FC.ravel())
    return float(loss), np.concatenate([gradient_FC.ravel(), error_TC.sum(axis=0)])


def fit(rows_TF: sparse.csr_array, targets_TC: np.ndarray, strength: float, regression: bool = False) -> Fit:
    """The minimum of `loss_and_gradient`."""
    [found] = fit_each(rows_TF, targets_TC, (strength,), regression)
    return found


def fit_each(
    rows_TF: sparse.csr_array, targets_TC: np.ndarray, strengths: Sequence[float], regression: bool = False
) -> Iterator[Fit]:
    """The minima of `loss_and_gradient` at some strengths; each starts from the one before."""
    num_classes = targets_TC.shape[1]
    triangle_TT = _triangle(rows_TF, num_classes)
    rows = rows_TF if triangle_TT is None else triangle_TT
    _, num_columns = cast(tuple[int, int], rows.shape)
    flat = np.zeros((num_columns + 1) * num_classes)
    for strength in strengths:
        flat = _minimise(partial(_loss, rows, targets_TC, strength, regression), flat)
        weights = flat.reshape(-1, num_classes)[:-1]
        if triangle_TT is not None:
            weights = rows_TF.T @ linalg.solve_triangular(triangle_TT, weights, trans=1, lower=True)
        yield Fit(weights, flat[-num_classes:].copy())


def _loss(
    rows: sparse.csr_array | np.ndarray, targets: np.ndarray, strength: float, regression: bool, flat: np.ndarray
) -> tuple[float, np.ndarray]:
    return loss_and_gradient(flat, rows, targets, strength, regression)


def _triangle(rows_TF: sparse.csr_array, num_classes: int) -> np.ndarray | None:
    """Texts by as many columns as there are texts, with the same inner products; None where that's no gain.

    The best weights are a sum of texts (the representer theorem, Kimeldorf and Wahba 1971), so that few texts of many
    n-grams need few numbers: with L L' = X X', weights v over L are the weights X' L'^-1 v over X, of the same norm.
    """
    num_texts, num_columns = cast(tuple[int, int], rows_TF.shape)
    # What a step reads: the triangle twice, or steps and changes of all weights, each pair four times.
    if num_texts > _FEW_TEXTS or 2 * num_texts**2 > 4 * _MEMORY * num_columns * num_classes:
        return None
    inner_TT = (rows_TF @ rows_TF.T).toarray()
    # Equal texts make it singular: as if each text had a column of its own, of this square.
    inner_TT[np.diag_indices(num_texts)] += 1e-8
    return linalg.cholesky(inner_TT, lower=True)


def _minimise(function: Callable[[np.ndarray], tuple[float, np.ndarray]], point: np.ndarray) -> np.ndarray:
    """L-BFGS (Nocedal and Wright 2006, algorithms 7.4 and 7.5) with halving of steps.

    Ours, since SciPy's L-BFGS-B minds bounds, which takes ten times as long as the loss where columns are many.
    """
    loss, gradient = function(point)
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=_MEMORY)
    for _ in range(_ITERATIONS):
        direction = -_times_inverse_hessian(gradient, pairs)
        slope = _dot(gradient, direction)
        # Before anything is known of the curvature, a step of length 1 at most.
        size = 1.0 if pairs else min(1.0, 1 / (np.sqrt(_dot(gradient, gradient)) or 1.0))
        for _ in range(_HALVINGS):
            new_point = point + size * direction
            new_loss, new_gradient = function(new_point)
            if new_loss <= loss + 1e-4 * size * slope:
                break
            size /= 2
        else:
            return point
        step, change = new_point - point, new_gradient - gradient
        if (curvature := _dot(step, change)) > 0:
            pairs.append((step, change, curvature))
        fell = loss - new_loss
        point, loss, gradient = new_point, new_loss, new_gradient
        if fell <= _PRECISION * max(abs(loss), 1e-9):
            return point
    return point


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Without BLAS, whose threads sum in another order on other machines, and wait long where others use the cores."""
    return float(np.einsum("i,i->", a, b))


def _times_inverse_hessian(gradient: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    vector = gradient.copy()
    shares = []
    for step, change, curvature in reversed(pairs):
        shares.append(_dot(step, vector) / curvature)
        vector -= shares[-1] * change
    if pairs:
        _, change, curvature = pairs[-1]
        vector *= curvature / _dot(change, change)
    for (step, change, curvature), share in zip(pairs, reversed(shares), strict=True):
        vector += (share - _dot(change, vector) / curvature) * step
    return vector


def cross_entropy(logits_TC: np.ndarray, targets_TC: np.ndarray) -> float:
    """Mean cross-entropy towards the probability of each class, in nats."""
    shifted_TC = logits_TC - logits_TC.max(axis=1, keepdims=True)
    log_sum_T = np.log(np.exp(shifted_TC).sum(axis=1))
    return float(np.mean(log_sum_T - np.sum(shifted_TC * targets_TC, axis=1)))


def temperature(logits_TC: np.ndarray, targets_TC: np.ndarray) -> float:
    """The number to divide logits by so that their cross-entropy is least (Guo et al. 2017), within [1/20, 20].

    Like measures.temperature, Platt's margin included, for targets that are probabilities.
    """
    num_texts, num_classes = targets_TC.shape
    margin = 1 / (num_texts + 2)
    goal_TC = (1 - margin) * targets_TC + margin / (num_classes - 1) * (1 - targets_TC)
    found = optimize.minimize_scalar(
        lambda log_heat: cross_entropy(logits_TC / np.exp(log_heat), goal_TC),
        bounds=(-np.log(20.0), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def folds(num_texts: int, seed: int, all_rows: bool = False) -> list[np.ndarray]:
    """The rows to hold out in each fold: five of all, or one fifth where texts are many (unless `all_rows`)."""
    order = np.random.default_rng(seed).permutation(num_texts)
    parts = np.array_split(order, min(_FOLDS, num_texts))
    return parts if all_rows or num_texts < _ONE_FOLD_FROM else parts[:1]


class Fold(NamedTuple):
    """What a fit learns from, and what it is then asked; columns and their weights come from the first half only."""

    rows: sparse.csr_array
    targets: np.ndarray
    held_rows: sparse.csr_array
    held_targets: np.ndarray


def choose(parts: Iterable[Fold], regression: bool = False) -> tuple[float, float]:
    """The strength whose fits answer best for the texts that they never saw; the temperature of those answers.

    Best is the least cross-entropy at the best temperature, or mean squared error (its temperature is 1). From weak to
    strong, each fit starts from the one before.
    """
    outputs: dict[float, list[np.ndarray]] = {strength: [] for strength in STRENGTHS}
    targets = []
    for rows, wanted, held_rows, held_targets in parts:
        for strength, found in zip(STRENGTHS, fit_each(rows, wanted, STRENGTHS, regression), strict=True):
            outputs[strength].append(found.outputs(held_rows))
        targets.append(held_targets)
    held_TC = np.concatenate(targets)

    def held_out(strength: float) -> tuple[float, float]:
        outputs_TC = np.concatenate(outputs[strength])
        if regression:
            return float(np.mean((outputs_TC - held_TC) ** 2)), 1.0
        heat = temperature(outputs_TC, held_TC)
        return cross_entropy(outputs_TC / heat, held_TC), heat

    measured = {strength: held_out(strength) for strength in STRENGTHS}
    best = min(STRENGTHS, key=lambda strength: measured[strength][0])
    return best, measured[best][1]
