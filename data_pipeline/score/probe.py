"""The head that suits an encoder as it came: a linear fit on what its layers, left as they are, say of the texts.

Fine-tuning that starts from a fresh head first turns the layers towards its noise, and with few texts ends before the
head has learnt its classes (Kumar et al., 2022, arXiv 2202.10054: the head first, then all of it). NumPy only.

Letters: T texts (windows of them), D features, C classes (1 for a regression).
"""

import numpy as np
from scipy import sparse

from data_pipeline.score import fitting, measures

_MOST_TEXTS = 20_000  # to fit to: a sample says as much of D x C numbers
_EVEN = 1e-6  # added to a feature's spread, which may be 0


def fit_head(
    features_TD: np.ndarray,
    targets_T: np.ndarray,
    held_TD: np.ndarray,
    held_T: np.ndarray,
    num_labels: int,
    regression: bool,
    seed: int,
) -> dict[str, np.ndarray]:
    """The kernel `[D, C]` and bias `[C]` of the strength that is best for the held-out texts."""
    chosen = np.random.default_rng(seed).permutation(len(features_TD))[:_MOST_TEXTS]
    mean_D, spread_D = features_TD[chosen].mean(axis=0), features_TD[chosen].std(axis=0) + _EVEN
    scale_D = spread_D * np.sqrt(len(spread_D))  # rows of length 1 on average, for which the strengths are made
    rows, held_rows = (sparse.csr_array((part - mean_D) / scale_D) for part in (features_TD[chosen], held_TD))
    targets = targets_T[chosen, None] if regression else np.eye(num_labels)[targets_T[chosen]]

    def held_loss(fit: fitting.Fit) -> float:
        outputs_TC = fit.outputs(held_rows)
        if regression:
            return float(np.mean((outputs_TC[:, 0] - held_T) ** 2))
        return measures.cross_entropy(outputs_TC / measures.temperature(outputs_TC, held_T), held_T)

    best = min(fitting.fit_each(rows, targets, fitting.STRENGTHS, regression), key=held_loss)
    kernel = best.weights / scale_D[:, None]
    return {"kernel": kernel.astype(np.float32), "bias": (best.bias - mean_D @ kernel).astype(np.float32)}
