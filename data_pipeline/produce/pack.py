"""Documents into rows: which piece of which document stands where. Pure: arrays in, arrays out.

A piece is a document, or the part of one that a row holds. Two packers lay pieces out:

- "concatenate" puts documents one after the other, shuffled, and cuts them wherever a row ends. No place is lost.
- "best_fit" (best_fit.py) cuts only documents longer than a row, and leaves a few places empty. Pieces of such a
  document may begin with a repetition of what stood before them, for context that is not learnt from. With rows of
  several lengths, documents too long for short rows go into long ones first, and the rest is shared out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from data_pipeline.produce.best_fit import best_fit, bins_needed
from data_pipeline.produce.hashing import shuffled

Packer = Literal["concatenate", "best_fit"]


@dataclass(frozen=True)
class Shape:
    """What pieces are packed into, and how."""

    packer: Packer
    rows: dict[int, int]  # length of rows -> how many a block has, the longest first; a row holds one token more
    overlap: int = 0  # tokens of a document that a further piece of it repeats

    @property
    def capacity(self) -> int:
        return sum(count * (length + 1) for length, count in self.rows.items())

    def targets(self, tokens: int) -> dict[int, int]:
        """Of `tokens`, those for rows of each length, by the places that these have."""
        return {length: tokens * count * (length + 1) // self.capacity for length, count in self.rows.items()}


class Layout(NamedTuple):
    """Pieces in rows of one length, in the order of their places, all int64 `[pieces]`."""

    use: np.ndarray  # whose: an index into the uses that were laid out
    begin: np.ndarray  # the document's token that it begins with
    length: np.ndarray  # tokens, those repeated included
    repeated: np.ndarray  # how many of its first tokens stand in the piece before it, too
    row: np.ndarray
    column: np.ndarray


def cut(lengths: np.ndarray, groups: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """How many tokens of each use are kept so that no group exceeds its budget, int64 `[uses]`."""
    kept = lengths.copy()
    for group, budget in enumerate(budgets):
        members = np.flatnonzero(groups == group)
        before = np.cumsum(lengths[members]) - lengths[members]
        kept[members] = np.clip(budget - before, 0, lengths[members])
    return kept


def lay_out(shape: Shape, kept: np.ndarray, seed: int, block: int) -> dict[int, Layout]:
    """The places of all tokens that are kept, by length of rows. Rows are as many as it takes.

    Args:
      kept: tokens of each use, int64 `[uses]`.
    """
    layouts = {}
    for length, uses in _shared_out(shape, kept, seed, block).items():
        if shape.packer == "concatenate":
            layouts[length] = _one_after_the_other(uses, kept[uses], length + 1)
            continue
        use, begin, size, repeated = _split(uses, kept[uses], length + 1, shape.overlap)
        row, column, rows = best_fit(size, length + 1)
        row = np.argsort(shuffled(rows, seed, block, "rows", length))[row]  # else they would stand in order of fill
        order = np.lexsort((column, row))
        layouts[length] = Layout(*(a[order] for a in (use, begin, size, repeated, row, column)))
    return layouts


def rows_needed(shape: Shape, kept: np.ndarray, seed: int, block: int) -> dict[int, int]:
    """How many rows of each length `lay_out` fills."""
    needed = {}
    for length, uses in _shared_out(shape, kept, seed, block).items():
        if shape.packer == "concatenate":
            needed[length] = -(-int(kept.sum()) // (length + 1))
        else:
            needed[length] = bins_needed(_split(uses, kept[uses], length + 1, shape.overlap)[2], length + 1)
    return needed


def _shared_out(shape: Shape, kept: np.ndarray, seed: int, block: int) -> dict[int, np.ndarray]:
    """The uses that go into rows of each length, shuffled, int64 `[uses]`.

    Rows of a length take documents that are too long for shorter ones first, then any, up to their share of the tokens.
    """
    order = shuffled(len(kept), seed, block, "pack")
    order = order[kept[order] > 0]
    lengths, targets, shared = list(shape.rows), shape.targets(int(kept.sum())), {}
    for length, shorter in pairwise(lengths):
        first = np.argsort(kept[order] <= shorter + 1, kind="stable")
        order = order[first]
        count = int(np.searchsorted(np.cumsum(kept[order]), targets[length], side="right"))
        shared[length], order = order[:count], order[count:]
    shared[lengths[-1]] = order
    return shared


def _split(uses: np.ndarray, kept: np.ndarray, capacity: int, overlap: int) -> tuple[np.ndarray, ...]:
    """(use, begin, length, repeated) of the pieces of at most `capacity` tokens that documents fall into."""
    stride = capacity - overlap
    count = 1 + np.maximum(0, -(-(kept - capacity) // stride))
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = number * stride
    end = np.minimum(begin + capacity, np.repeat(kept, count))
    return np.repeat(uses, count), begin, end - begin, np.where(number > 0, overlap, 0)


def _one_after_the_other(uses: np.ndarray, kept: np.ndarray, capacity: int) -> Layout:
    """Documents as one stream, cut wherever a row ends."""
    ends = np.cumsum(kept)
    starts = ends - kept
    first, last = starts // capacity, (ends - 1) // capacity
    count = last - first + 1
    row = np.repeat(first, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = np.maximum(np.repeat(starts, count), row * capacity)
    end = np.minimum(np.repeat(ends, count), (row + 1) * capacity)
    zeros = np.zeros(len(row), np.int64)
    return Layout(
        np.repeat(uses, count), begin - np.repeat(starts, count), end - begin, zeros, row, begin - row * capacity
    )


def cuts(layouts: Mapping[int, Layout], kept: np.ndarray, row_tokens: int) -> np.ndarray:
    """What stands in more than one piece, int64 `[4]`: in the order of Packing, documents and tokens behind a cut.

    Args:
      row_tokens: of the longest rows; documents beyond it count apart.
    """
    found = np.zeros((2, 2), np.int64)
    for layout in layouts.values():
        behind = layout.begin > 0
        tokens = np.bincount(layout.use[behind], (layout.length - layout.repeated)[behind], len(kept))
        for too_long in (0, 1):
            these = tokens[(tokens > 0) & ((kept > row_tokens) == too_long)]
            found[too_long] += len(these), int(these.sum())
    return found.ravel()
