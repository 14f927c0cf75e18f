"""Runs of words as 64-bit hashes, whole texts at a time: what near-duplicates and overlaps are measured by.

Hashes are the same in every process and on every machine, so that they may meet in an exchange.
"""

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from data_pipeline import engine
from data_pipeline.operators.words import split_words

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def normal_words(text: str) -> tuple[str, ...]:
    """The words that count: compatibility forms made equal (NFKC), without case; white space doesn't matter."""
    return split_words(unicodedata.normalize("NFKC", text).lower())


def hash_strings(strings: Sequence[str] | pa.LargeStringArray) -> np.ndarray:
    """A 64-bit hash of each string: uint64 [strings]."""
    if not len(strings):
        return np.empty(0, np.uint64)
    array = strings if isinstance(strings, pa.LargeStringArray) else pa.array(strings, pa.large_string())
    series = engine.daft_module().Series.from_arrow(array)
    return series.hash().to_arrow().to_numpy().astype(np.uint64)


def run_hashes(hashes: np.ndarray, length: int) -> np.ndarray:
    """The hash of each run of `length` words, given the words' hashes: uint64 [max(0, words - length + 1)]."""
    return next(runs_of_lengths(hashes, [length]))


def runs_of_lengths(hashes: np.ndarray, lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """`run_hashes` for several ascending lengths, at the cost of the longest alone."""
    runs = np.zeros(len(hashes), np.uint64)
    done = 0
    for length in lengths:
        starts = max(0, len(hashes) - length + 1)
        for offset in range(done, length if starts else 0):
            runs = (runs[: len(hashes) - offset] ^ hashes[offset:]) * _MULTIPLIER
            runs ^= runs >> np.uint64(29)  # lets the high bits, which multiplying fills, reach the low ones
        done = length
        yield runs[:starts]


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """The similarity of two sets (sorted, without repeats): shared by united size; 0 where they share nothing."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared) if shared else 0.0
