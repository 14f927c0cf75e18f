"""Fitting L(N, D) = E + A/N^α + B/D^β to runs (Hoffmann et al., 2022, section 3.3), with what the data leave open.

The sum of Huber losses of log-residuals is least where L-BFGS, from a grid of starts, ends; the sum and not the mean,
as a mean this small meets the optimizer's tolerance too early (Besiroglu et al., 2024, section 3.3). Intervals come of
refits to runs drawn anew, with replacement. All logarithms are centred, so that A and α can be told apart in floating
point.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from maxlm.errors import DataError

Array = NDArray[np.float64]
CONSTANTS = ("E", "A", "B", "alpha", "beta")
FEWEST = 8  # points; five constants and something to judge them by
_EXPONENTS = (0.1, 0.25, 0.4, 0.6, 0.9)
_FLOORS = (0.2, 0.5, 0.8, 0.95)  # E, as a share of the least loss
_POLISHED = 2  # starts that are taken to the end
_REFIT_STEPS = 40


@dataclass(frozen=True)
class LossFit:
    """Constants in the order of CONSTANTS, and those of the refits."""

    constants: Array  # [5]
    draws: Array  # [refits, 5]
    objective: float  # sum of Huber losses of log-residuals
    residuals: Array  # [points], of the logarithm of the loss

    def predict(self, params: Array, tokens: Array) -> Array:
        return predict(self.constants, params, tokens)

    def interval(self, level: float = 0.95) -> Array:
        """Lower and upper ends, `[2, 5]`: quantiles of the refits."""
        return np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2], axis=0)


def predict(constants: Array, params: Array, tokens: Array) -> Array:
    """L(N, D); a batch of constants `[…, 5]` gives a batch of losses."""
    E, A, B, alpha, beta = (constants[..., i, None] if constants.ndim > 1 else constants[i] for i in range(5))
    return E + A / params**alpha + B / tokens**beta


def fit_loss(
    params: Array, tokens: Array, losses: Array, *, delta: float = 1e-3, refits: int = 400, seed: int = 0
) -> LossFit:
    """The constants, and `refits` to runs drawn anew.

    Args:
      params, tokens, losses: `[points]`, positive.
      delta: residuals of the logarithm beyond it count linearly.

    Raises:
      DataError: too few points, or all of one size or one number of tokens.
    """
    _check(params, tokens, losses)
    problem = _Problem(np.log(params), np.log(tokens), np.log(losses), delta)
    whole = np.ones((1, len(losses)))
    starts = problem.refine(problem.starts(), whole, steps=60)
    best = np.argsort(problem.objective(starts, whole))[:_POLISHED]
    ends = [problem.polish(starts[i]) for i in best]
    theta, objective = min(ends, key=lambda end: end[1])
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(losses), np.full(len(losses), 1 / len(losses)), size=refits).astype(float)
    draws = problem.refine(np.repeat(theta[None], refits, axis=0), drawn, _REFIT_STEPS)
    return LossFit(problem.constants(theta), problem.constants(draws), objective, problem.residuals(theta[None])[0][0])


def _check(params: Array, tokens: Array, losses: Array) -> None:
    if len(losses) < FEWEST:
        raise DataError(f"{len(losses)} points are too few to fit five constants to; {FEWEST} at least")
    for name, values in (("sizes", params), ("numbers of tokens", tokens)):
        if len(np.unique(values.round(-int(np.log10(values.min())) + 3))) < 3:
            raise DataError(f"fewer than three {name} among the points: a curve in them cannot be told; run some more")


class _Problem:
    """θ = (a, b, e, α, β) and log L = logsumexp(a - αx, b - βy, e); x and y are log N and log D from their middle."""

    def __init__(self, x: Array, y: Array, target: Array, delta: float):
        self.middle = float(x.mean()), float(y.mean())
        self.x, self.y, self.target, self.delta = x - self.middle[0], y - self.middle[1], target, delta

    def starts(self) -> Array:
        """[starts, 5]: exponents and floors of a grid, the rest split evenly between the two terms at the middle."""
        low, middle = np.exp(self.target.min()), np.exp(np.median(self.target))
        grid = []
        for floor in _FLOORS:
            rest = np.log(max(middle - floor * low, 1e-3 * middle) / 2)
            grid += [(rest, rest, np.log(floor * low), alpha, beta) for alpha in _EXPONENTS for beta in _EXPONENTS]
        return np.array(grid)

    def constants(self, theta: Array) -> Array:
        a, b, e, alpha, beta = np.moveaxis(theta, -1, 0)
        A, B = np.exp(a + alpha * self.middle[0]), np.exp(b + beta * self.middle[1])
        return np.stack([np.exp(e), A, B, alpha, beta], axis=-1)

    def residuals(self, theta: Array) -> tuple[Array, Array]:
        """Of the logarithm `[batch, points]`, and their derivatives `[batch, 5, points]`."""
        a, b, e, alpha, beta = (theta[:, i, None] for i in range(5))
        terms = np.stack([a - alpha * self.x, b - beta * self.y, np.broadcast_to(e, (len(theta), len(self.x)))])
        top = terms.max(axis=0)
        parts = np.exp(terms - top)
        total = parts.sum(axis=0)
        parts /= total
        slopes = np.stack([*parts, -self.x * parts[0], -self.y * parts[1]], axis=1)
        return top + np.log(total) - self.target, slopes

    def objective(self, theta: Array, weights: Array) -> Array:
        """[batch]: sums of Huber losses."""
        return (weights * self._huber(self.residuals(theta)[0])).sum(axis=-1)

    def _huber(self, residuals: Array) -> Array:
        size = np.abs(residuals)
        return np.where(size <= self.delta, size**2 / 2, self.delta * (size - self.delta / 2))

    def refine(self, theta: Array, weights: Array, steps: int) -> Array:
        """A batch of problems at once: damped Gauss-Newton on squares reweighted to the Huber loss (IRLS)."""
        damping = np.full(len(theta), 1e-3)
        residuals, slopes = self.residuals(theta)
        value = (weights * self._huber(residuals)).sum(axis=-1)
        for _ in range(steps):
            reweighted = weights * np.minimum(1.0, self.delta / np.maximum(np.abs(residuals), 1e-12))
            weighted = slopes * reweighted[:, None]
            gradient = (weighted @ residuals[..., None])[..., 0]
            curvature = weighted @ slopes.swapaxes(1, 2)
            diagonal = np.einsum("bii->bi", curvature)
            ridge = damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
            step = np.linalg.solve(curvature + ridge[:, :, None] * np.eye(5), gradient[..., None])[..., 0]
            proposed = theta - np.clip(step, -1, 1)
            new_residuals, new_slopes = self.residuals(proposed)
            new_value = (weights * self._huber(new_residuals)).sum(axis=-1)
            better = new_value < value
            theta = np.where(better[:, None], proposed, theta)
            residuals = np.where(better[:, None], new_residuals, residuals)
            slopes = np.where(better[:, None, None], new_slopes, slopes)
            value = np.where(better, new_value, value)
            damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-10, 1e6)
        return theta

    def polish(self, start: Array) -> tuple[Array, float]:
        """L-BFGS to the last digits: θ and the objective."""
        scale = 1 / self.delta**2  # tolerances are meant for values about one

        def value(theta: Array) -> tuple[float, Array]:
            residuals, slopes = self.residuals(theta[None])
            pull = np.clip(residuals[0], -self.delta, self.delta)
            return scale * float(self._huber(residuals).sum()), scale * (slopes[0] @ pull)

        for _ in range(3):  # anew from where it stopped, without what it remembers of the way
            options = {"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9}
            end = optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=options)
            start = end.x
        return start, float(end.fun) / scale
