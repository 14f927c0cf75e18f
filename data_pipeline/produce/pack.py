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

from data_pipeline.mix.hashing import shuffled
from data_pipeline.produce.best_fit import best_fit, bins_needed

_RESERVE = 0.97  # of the room in long rows, for pieces that need them; the rest is for what fits in between
_ROUNDS = 6  # in which the lengths of rows are brought into balance; each packs once
Packer = Literal["concatenate", "best_fit"]


@dataclass(frozen=True)
class Shape:
    """What pieces are packed into, and how."""

    packer: Packer
    rows: dict[int, int]  # length of rows -> how many a block has, the longest first; a row holds one token more
    overlap: int = 0  # tokens of a document that a further piece of it repeats

    @property
    def capacity(self) -> int:
        """Places in all rows."""
        return sum(count * (length + 1) for length, count in self.rows.items())


class Pieces(NamedTuple):
    """Pieces of documents, all int64 `[pieces]`."""

    use: np.ndarray  # whose: an index into the uses that are packed
    begin: np.ndarray  # the document's token that it begins with
    length: np.ndarray  # tokens, those repeated included
    repeated: np.ndarray  # how many of its first tokens stand in the piece before it, too

    def at(self, which: np.ndarray) -> "Pieces":
        return Pieces(*(column[which] for column in self))


class Layout(NamedTuple):
    """Pieces in rows of one length, in the order of their places."""

    pieces: Pieces
    row: np.ndarray  # int64 `[pieces]`
    column: np.ndarray  # int64 `[pieces]`


def cut(lengths: np.ndarray, groups: np.ndarray, budgets: np.ndarray, whole: np.ndarray | None = None) -> np.ndarray:
    """How many tokens of each use are kept so that no group exceeds its budget, int64 `[uses]`.

    `whole`: bool `[uses]`, those that are kept as they are or not at all.
    """
    kept = lengths.copy()
    for group, budget in enumerate(budgets):
        members = np.flatnonzero(groups == group)
        before = np.cumsum(lengths[members]) - lengths[members]
        kept[members] = np.clip(budget - before, 0, lengths[members])
    return kept if whole is None else np.where(whole & (kept < lengths), 0, kept)


def lay_out(shape: Shape, kept: np.ndarray, seed: int, block: int) -> dict[int, Layout]:
    """The places of all tokens that are kept, by length of rows. Rows are as many as it takes.

    Args:
      kept: tokens of each use, int64 `[uses]`.
    """
    order = _shuffled(kept, seed, block)
    if shape.packer == "concatenate":
        (length,) = shape.rows
        return {length: _one_after_the_other(order, kept[order], length + 1)}
    layouts = {}
    for length, pieces in _shared_out(shape, order, kept).items():
        row, column, rows = best_fit(pieces.length, length + 1)
        row = np.argsort(shuffled(rows, seed, block, "rows", length))[row]  # else they would stand in order of fill
        places = np.lexsort((column, row))
        layouts[length] = Layout(pieces.at(places), row[places], column[places])
    return layouts


def rows_needed(shape: Shape, kept: np.ndarray, seed: int, block: int) -> dict[int, int]:
    """How many rows of each length `lay_out` fills."""
    if shape.packer == "concatenate":
        return {length: -(-int(kept.sum()) // (length + 1)) for length in shape.rows}
    shared = _shared_out(shape, _shuffled(kept, seed, block), kept)
    return {length: bins_needed(pieces.length, length + 1) for length, pieces in shared.items()}


def _shuffled(kept: np.ndarray, seed: int, block: int) -> np.ndarray:
    order = shuffled(len(kept), seed, block, "pack")
    return order[kept[order] > 0]


def _shared_out(shape: Shape, order: np.ndarray, kept: np.ndarray) -> dict[int, Pieces]:
    """The pieces that go into rows of each length, so that all lengths run out of rows at about the same time."""
    longest = max(shape.rows) + 1
    uses = Pieces(order, np.zeros_like(order), kept[order], np.zeros_like(order))
    pieces = _split(uses, longest, shape.overlap)
    share = np.array([count * (length + 1) for length, count in shape.rows.items()]) / shape.capacity
    best, least = {}, np.inf
    for _ in range(_ROUNDS):
        shared = _by_length(shape, pieces, share)
        filled = np.array([bins_needed(shared[n].length, n + 1) / count for n, count in shape.rows.items()])
        if filled.max() < least:
            best, least = shared, filled.max()
        if filled.min() >= 0.999 * filled.max():
            break
        share /= np.maximum(filled, 1e-3 * filled.max())
        share /= share.sum()
    return best


def _by_length(shape: Shape, pieces: Pieces, share: np.ndarray) -> dict[int, Pieces]:
    """Rows of each length take pieces too long for shorter ones first, then any, up to a share of all tokens.

    Of the share a little is left to the others even so: between long pieces alone, much room would stay empty.
    """
    lengths, targets, shared = list(shape.rows), share * pieces.length.sum(), {}
    for (length, shorter), target in zip(pairwise(lengths), targets, strict=False):
        too_long = pieces.length > shorter + 1
        first = too_long & (np.cumsum(pieces.length * too_long) <= _RESERVE * target)
        pieces = pieces.at(np.lexsort((too_long, ~first)))
        count = int(np.searchsorted(np.cumsum(pieces.length), target, side="right"))
        shared[length] = pieces.at(np.arange(count))
        pieces = _split(pieces.at(np.arange(count, len(pieces.use))), shorter + 1, shape.overlap)
    return {**shared, lengths[-1]: pieces}


def _split(pieces: Pieces, capacity: int, overlap: int) -> Pieces:
    """Pieces of more than `capacity` tokens as several, each of which but the first repeats `overlap`."""
    count = 1 + np.maximum(0, -(-(pieces.length - capacity) // (capacity - overlap)))
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    whole = pieces.at(np.repeat(np.arange(len(count)), count))
    begin = number * (capacity - overlap)
    length = np.minimum(begin + capacity, whole.length) - begin
    return Pieces(whole.use, whole.begin + begin, length, np.where(number > 0, overlap, whole.repeated))


def _one_after_the_other(uses: np.ndarray, kept: np.ndarray, capacity: int) -> Layout:
    """Documents as one stream, cut wherever a row ends."""
    ends = np.cumsum(kept)
    starts = ends - kept
    first, last = starts // capacity, (ends - 1) // capacity
    count = last - first + 1
    row = np.repeat(first, count) + np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    begin = np.maximum(np.repeat(starts, count), row * capacity)
    end = np.minimum(np.repeat(ends, count), (row + 1) * capacity)
    pieces = Pieces(np.repeat(uses, count), begin - np.repeat(starts, count), end - begin, np.zeros_like(row))
    return Layout(pieces, row, begin - row * capacity)


def cuts(layouts: Mapping[int, Layout], kept: np.ndarray, row_tokens: int) -> np.ndarray:
    """What stands in more than one piece, int64 `[4]`: in the order of Packing, documents and tokens behind a cut.

    Args:
      row_tokens: of the longest rows; documents beyond it count apart.
    """
    tokens = np.zeros(len(kept), np.int64)
    for layout in layouts.values():
        pieces = layout.pieces.at(layout.pieces.begin > 0)
        np.add.at(tokens, pieces.use, pieces.length - pieces.repeated)
    found = []
    for too_long in (False, True):
        behind = tokens[(tokens > 0) & ((kept > row_tokens) == too_long)]
        found += [len(behind), int(behind.sum())]
    return np.array(found, np.int64)
