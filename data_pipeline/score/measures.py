"""How good a classifier is on held-out labels, and how far its probabilities can be trusted. NumPy only.

Letters: T texts, C classes.
"""

import numpy as np

_BINS = 15  # as in Guo et al., 2017


def accuracy(scores_TC: np.ndarray, labels_T: np.ndarray) -> float:
    """Share of texts whose highest score, logit or probability, is that of their label."""
    return float(np.mean(np.argmax(scores_TC, axis=1) == labels_T))


def macro_f1(scores_TC: np.ndarray, labels_T: np.ndarray) -> float:
    """The mean over classes of the harmonic mean of precision and recall; a class never seen nor named is left out."""
    found_T = np.argmax(scores_TC, axis=1)
    values = []
    for label in range(scores_TC.shape[1]):
        right = np.count_nonzero((found_T == label) & (labels_T == label))
        either = np.count_nonzero(found_T == label) + np.count_nonzero(labels_T == label)
        if either:
            values.append(2 * right / either)
    return float(np.mean(values))


def calibration_error(probabilities_TC: np.ndarray, labels_T: np.ndarray, bins: int = _BINS) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over `bins` equal ranges of confidence.

    Guo et al., 2017 (arXiv 1706.04599), equation 3. 0 is perfect.
    """
    confidence_T = probabilities_TC.max(axis=1)
    right_T = np.argmax(probabilities_TC, axis=1) == labels_T
    bin_T = np.clip(np.ceil(confidence_T * bins).astype(int) - 1, 0, bins - 1)  # (0, 1/bins], …
    gaps = np.bincount(bin_T, right_T - confidence_T, bins)
    return float(np.abs(gaps).sum() / len(labels_T))


def softmax(logits_TC: np.ndarray) -> np.ndarray:
    """Probabilities, float64 `[texts, classes]`."""
    shifted_TC = np.asarray(logits_TC, np.float64)
    powers_TC = np.exp(shifted_TC - shifted_TC.max(axis=1, keepdims=True))
    return powers_TC / powers_TC.sum(axis=1, keepdims=True)


def cross_entropy(logits_TC: np.ndarray, labels_T: np.ndarray) -> float:
    """Mean of -log p(label), in nats."""
    logits_TC = np.asarray(logits_TC, np.float64)
    peak_T = logits_TC.max(axis=1)
    log_sum_T = peak_T + np.log(np.exp(logits_TC - peak_T[:, None]).sum(axis=1))
    return float(np.mean(log_sum_T - logits_TC[np.arange(len(labels_T)), labels_T]))


def temperature(logits_TC: np.ndarray, labels_T: np.ndarray) -> float:
    """The number to divide logits by so that held-out cross-entropy is least (Guo et al., 2017, section 4.2).

    Towards targets that leave a share of 1 / (texts + 2) to the other classes, as Platt does (1999, section 2.2): on
    held-out texts that are all right, the least loss would else lie at a temperature of 0 and promise certainty.
    Found by golden-section search over its logarithm, in which the loss has one minimum, within [1/20, 20].
    """
    low, high = -np.log(20.0), np.log(20.0)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        left_loss, right_loss = (_smoothed_loss(logits_TC / np.exp(x), labels_T) for x in (left, right))
        low, high = (low, right) if left_loss <= right_loss else (left, high)
    return float(np.exp((low + high) / 2))


def _smoothed_loss(logits_TC: np.ndarray, labels_T: np.ndarray) -> float:
    """Cross-entropy towards 1 - ε on the label and ε spread over the other classes, ε = 1 / (texts + 2)."""
    texts, classes = logits_TC.shape
    other = 1 / (texts + 2)
    label_loss = cross_entropy(logits_TC, labels_T)
    # The mean loss of the other classes, from that of all of them.
    mean_loss = label_loss + float(np.mean(logits_TC[np.arange(texts), labels_T] - logits_TC.mean(axis=1)))
    others_loss = (classes * mean_loss - label_loss) / (classes - 1)
    return (1 - other) * label_loss + other * others_loss


def of_classes(logits_TC: np.ndarray, labels_T: np.ndarray) -> dict[str, float]:
    """Accuracy, macro F1, expected calibration error and cross-entropy of logits."""
    return {
        "accuracy": accuracy(logits_TC, labels_T),
        "macro_f1": macro_f1(logits_TC, labels_T),
        "calibration_error": calibration_error(softmax(logits_TC), labels_T),
        "cross_entropy": cross_entropy(logits_TC, labels_T),
    }


def auc(scores_T: np.ndarray, positive_T: np.ndarray) -> float:
    """The share of pairs of a positive and another text in which the positive scores higher; ties count half.

    The area under the ROC curve, from ranks (Mann and Whitney 1947). NaN where either kind is missing.
    """
    positives = int(np.count_nonzero(positive_T))
    others = len(positive_T) - positives
    if not positives or not others:
        return float("nan")
    above = _ranks(scores_T)[positive_T].sum() - positives * (positives + 1) / 2
    return float(above / (positives * others))


def of_values(found_T: np.ndarray, wanted_T: np.ndarray) -> dict[str, float]:
    """Mean absolute error, share of the variance explained, and Spearman's rank correlation of a regression."""
    spread = float(np.var(wanted_T))
    return {
        "mean_absolute_error": float(np.mean(np.abs(found_T - wanted_T))),
        "r2": 1 - float(np.mean((found_T - wanted_T) ** 2)) / spread if spread else 0.0,
        "spearman": _correlation(_ranks(found_T), _ranks(wanted_T)),
    }


def _ranks(values_T: np.ndarray) -> np.ndarray:
    """Places in order; equal values share the mean of theirs."""
    _, which_T, counts = np.unique(values_T, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[which_T]


def _correlation(a_T: np.ndarray, b_T: np.ndarray) -> float:
    spread = float(np.std(a_T) * np.std(b_T))
    return float(np.mean((a_T - a_T.mean()) * (b_T - b_T.mean()))) / spread if spread else 0.0
