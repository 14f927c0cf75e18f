"""Which documents are worth comparing: signatures are cut into bands of rows, and two that share a band are candidates.

At similarity s a pair becomes one with probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman: Mining of
Massive Datasets, chapter 3).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from data_pipeline.config import DedupConfig

_STEP = 0.001  # of similarity, in which areas are measured
_FALSE_POSITIVES, _FALSE_NEGATIVES = 0.1, 0.9  # weights
_MIXER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: `count` bands of `rows` values each."""

    count: int
    rows: int

    def probability(self, similarity: float) -> float:
        """The chance that two documents of this Jaccard similarity become candidates."""
        return 1 - (1 - similarity**self.rows) ** self.count


@cache
def choose_bands(threshold: float, num_perm: int) -> Bands:
    """The cut with the least sum of expected false positives below `threshold` and false negatives above it.

    As datasketch works it out: the areas under the curve of probability, and above it. Misses weigh more, since a false
    candidate costs one comparison and a missed one stays.
    """
    middles = (np.arange(1 / _STEP) + 0.5) * _STEP
    below = middles < threshold
    least, best = np.inf, Bands(2, max(1, num_perm // 2))
    for rows in range(1, num_perm // 2 + 1):
        counts = np.arange(2, num_perm // rows + 1)
        missed = (1 - middles**rows) ** counts[:, None]
        false = (1 - missed[:, below]).sum(axis=1) * _STEP
        errors = _FALSE_POSITIVES * false + _FALSE_NEGATIVES * missed[:, ~below].sum(axis=1) * _STEP
        if errors.min() < least:
            least, best = errors.min(), Bands(int(counts[errors.argmin()]), rows)
    return best


def bands_of(config: DedupConfig) -> Bands:
    """The cut that serves the lowest threshold that `config` names: a category's, the general one, or `lowest`."""
    named = [config.threshold, *config.thresholds.values()]
    return choose_bands(min([*named, config.lowest] if config.lowest else named), config.num_perm)


def bucket_keys(signatures: np.ndarray, bands: Bands) -> np.ndarray:
    """For each signature (uint32 [documents, num_perm]) one key a band: uint64 [documents, bands].

    Keys of different bands don't meet.
    """
    used = signatures[:, : bands.count * bands.rows].reshape(len(signatures), bands.count, bands.rows)
    keys = np.empty(used.shape[:2], np.uint64)
    keys[:] = np.arange(1, bands.count + 1, dtype=np.uint64)
    for row in range(bands.rows):
        keys ^= used[:, :, row]
        keys *= _MIXER
        keys ^= keys >> np.uint64(32)
    return keys
