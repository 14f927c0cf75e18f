"""Runs of words as 64-bit hashes, whole texts at a time: what near-duplicates and overlaps are measured by.

Hashes are the same in every process and on every machine, so that they may meet in an exchange.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data_pipeline import engine
from data_pipeline.operators.words import split_words

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def normal_words(text: str) -> tuple[str, ...]:
    """The words that count: compatibility forms made equal (NFKC), without case; white space doesn't matter."""
    return split_words(unicodedata.normalize("NFKC", text).lower())


def hash_strings(strings: Sequence[str]) -> np.ndarray:
    """A 64-bit hash of each string: uint64 [strings]."""
    if not len(strings):
        return np.empty(0, np.uint64)
    series = engine.daft_module().Series.from_arrow(pa.array(strings, pa.large_string()))
    return series.hash().to_arrow().to_numpy().astype(np.uint64)


def run_hashes(hashes: np.ndarray, length: int) -> np.ndarray:
    """The hash of each run of `length` words, given the words' hashes: uint64 [max(0, words - length + 1)]."""
    starts = len(hashes) - length + 1
    if starts < 1:
        return np.empty(0, np.uint64)
    runs = np.zeros(starts, np.uint64)
    for offset in range(length):
        runs = (runs ^ hashes[offset : offset + starts]) * _MULTIPLIER
        runs ^= runs >> np.uint64(29)  # lets the high bits, which multiplying fills, reach the low ones
    return runs


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """The similarity of two sets (sorted, without repeats): shared by united size; 0 where they share nothing."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared) if shared else 0.0
