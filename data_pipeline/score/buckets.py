"""Texts of all lengths as batches of few shapes, so that a compiled model is compiled a few times only. NumPy only.

Letters: B rows of a batch, S places of a row.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

LENGTHS = (32, 64, 128, 256, 512)  # places of a row; the longest is what the model allows
_MEGABATCH = 50  # batches among which training sorts by length


class Padded(NamedTuple):
    """A batch. Rows past ``len(rows)`` hold padding only."""

    rows: np.ndarray  # which sequences these are, int64 [≤ B]
    tokens_BS: np.ndarray  # int32
    mask_BS: np.ndarray  # bool: which places hold a token


def lengths_up_to(max_tokens: int) -> tuple[int, ...]:
    """The lengths that batches come in, for sequences of at most `max_tokens`."""
    return (*(length for length in LENGTHS if length < max_tokens), max_tokens)


def windows(ids: Sequence[int], max_tokens: int, count: int, around: tuple[int, int]) -> list[list[int]]:
    """At most `count` windows of a text, evenly over it from its head, each at most `max_tokens` with its two ends.

    Args:
      ids: of the text, without special tokens.
      max_tokens: length of a window, at least 3.
      count: 1 gives the head alone.
      around: the ids that stand before and after each window.
    """
    room, (first, last) = max_tokens - 2, around
    needed = min(count, max(-(-len(ids) // room), 1))
    # Where all of it fits into `needed` windows they follow each other; else there are gaps between them.
    step = room if needed * room >= len(ids) else (len(ids) - room) // max(needed - 1, 1)
    return [[first, *ids[i * step : i * step + room], last] for i in range(needed)]


def batches(
    sequences: Sequence[Sequence[int]], max_tokens: int, batch_tokens: int, multiple: int, pad_id: int
) -> Iterator[Padded]:
    """All sequences, sorted by length, in batches of about `batch_tokens` places.

    Rows of a batch are a multiple of `multiple` (the devices that share it) and, where few sequences are left, the
    least power of two of it that holds them.
    """
    sizes = np.array([len(sequence) for sequence in sequences], np.int64)
    lengths = np.array(lengths_up_to(max_tokens))
    buckets = np.searchsorted(lengths, sizes)
    for bucket, length in enumerate(lengths):
        inside = np.flatnonzero(buckets == bucket)
        inside = inside[np.argsort(sizes[inside], kind="stable")]
        most = max(batch_tokens // int(length) // multiple, 1) * multiple
        for start in range(0, len(inside), most):
            rows = inside[start : start + most]
            count = multiple
            while count < min(len(rows), most):
                count *= 2
            yield pad(sequences, rows, min(count, most), int(length), pad_id)


def pad(sequences: Sequence[Sequence[int]], rows: np.ndarray, count: int, length: int, pad_id: int) -> Padded:
    """The sequences at `rows` as `count` rows of `length` places."""
    tokens_BS = np.full((count, length), pad_id, np.int32)
    mask_BS = np.zeros((count, length), bool)
    for place, row in enumerate(rows):
        tokens_BS[place, : len(sequences[row])] = sequences[row]
        mask_BS[place, : len(sequences[row])] = True
    return Padded(rows, tokens_BS, mask_BS)


def epoch(sequences: Sequence[Sequence[int]], max_tokens: int, batch: int, pad_id: int, seed: int) -> Iterator[Padded]:
    """Every sequence once, in random order, batches of `batch` rows of similar lengths. A function of its arguments."""
    rng, sizes = np.random.default_rng(seed), np.array([len(sequence) for sequence in sequences])
    order = rng.permutation(len(sequences))
    chunk = batch * _MEGABATCH
    parts = [order[i : i + chunk] for i in range(0, len(order), chunk)]
    order = np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in parts])
    chosen = [order[i : i + batch] for i in range(0, len(order), batch)]
    lengths = np.array(lengths_up_to(max_tokens))
    for i in rng.permutation(len(chosen)):
        rows = chosen[i]
        length = lengths[np.searchsorted(lengths, sizes[rows].max())]
        yield pad(sequences, rows, batch, int(length), pad_id)
