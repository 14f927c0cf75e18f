"""Best-fit decreasing: pieces of known sizes into as few bins as it finds, without cutting any.

As in Ding et al. 2024 (Fewer Truncations Improve Language Modeling, section 3): the largest piece goes first, into the
bin where it leaves the least room. Sizes are whole numbers up to a bin's capacity, so pieces of one size, and bins with
the same room, are handled as runs: a step places many at once, and the number of steps depends on the number of
different sizes, not of pieces. The fullest bin that a piece fits into is found in a bitmap of the rooms that bins have.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class _Step(NamedTuple):
    """Pieces of one size that go into bins of one room, `each` into each bin."""

    size: int
    bin: int  # the first of the bins; the others follow it
    room: int  # that each bin had before
    each: int
    pieces: int


def best_fit(sizes: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Packs pieces of `sizes` (positive, at most `capacity`, integer `[pieces]`).

    Returns:
      The bin of each piece and where in it the piece begins, both int64 `[pieces]`, and the number of bins.
    """
    order = np.argsort(-sizes, kind="stable")
    steps, bins = _steps(sizes, capacity)
    size, first, room, each, count = np.array(steps, np.int64).reshape(-1, 5).T
    within = np.arange(len(sizes)) - np.repeat(np.cumsum(count) - count, count)  # number of a piece in its step
    turn = within % np.repeat(each, count)
    bin_of, begin = np.empty(len(sizes), np.int64), np.empty(len(sizes), np.int64)
    bin_of[order] = np.repeat(first, count) + within // np.repeat(each, count)
    begin[order] = capacity - np.repeat(room, count) + turn * np.repeat(size, count)
    return bin_of, begin, bins


def bins_needed(sizes: np.ndarray, capacity: int) -> int:
    """How many bins `best_fit` takes."""
    return _steps(sizes, capacity)[1]


def _steps(sizes: np.ndarray, capacity: int) -> tuple[list[_Step], int]:
    """What goes where, the largest pieces first, and the number of bins."""
    counts = np.bincount(sizes, minlength=1)
    bins = _Bins(capacity)
    steps = [step for size in np.flatnonzero(counts)[::-1].tolist() for step in bins.place(size, int(counts[size]))]
    return steps, bins.opened


class _Bins:
    """Bins by the room that is left in them, in runs of bins with successive numbers."""

    def __init__(self, capacity: int):
        self.opened = 0
        self._capacity = capacity
        self._by_room: list[deque[tuple[int, int]]] = [deque() for _ in range(capacity)]  # (first, count) of each run
        self._rooms = 0  # bit r: there are bins with room r

    def place(self, size: int, pieces: int) -> Iterator[_Step]:
        """Puts `pieces` of one size, each where it leaves the least room."""
        while pieces:
            first, count, room = self._tightest(size, pieces)
            each = room // size  # having taken one, a bin is the tightest for the next one too
            full, rest = divmod(pieces, each)
            if full >= count:
                full, rest = count, 0
            if full:
                yield _Step(size, first, room, each, full * each)
                self._put(first, full, room - each * size)
            if rest:
                yield _Step(size, first + full, room, rest, rest)
                self._put(first + full, 1, room - rest * size)
            used = full + (rest > 0)
            if used < count:
                self._put(first + used, count - used, room, in_front=True)
            pieces -= full * each + rest

    def _tightest(self, size: int, pieces: int) -> tuple[int, int, int]:
        """Takes out a run of bins: (first, count, room) of the fullest that `size` fits into, or of new ones."""
        fitting = self._rooms >> size
        if not fitting:
            first, count = self.opened, -(-pieces // (self._capacity // size))
            self.opened += count
            return first, count, self._capacity
        room = size + (fitting & -fitting).bit_length() - 1
        runs = self._by_room[room]
        first, count = runs.popleft()
        if not runs:
            self._rooms &= ~(1 << room)
        return first, count, room

    def _put(self, first: int, count: int, room: int, in_front: bool = False) -> None:
        if not room:
            return
        runs = self._by_room[room]
        runs.appendleft((first, count)) if in_front else runs.append((first, count))
        self._rooms |= 1 << room
