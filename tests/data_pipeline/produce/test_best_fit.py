"""Best-fit decreasing, against the textbook's: one piece after the other, each into the fullest bin that has room."""

import bisect

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.produce.best_fit import best_fit, bins_needed


@st.composite
def pieces(draw):
    capacity = draw(st.integers(1, 40))
    sizes = draw(st.lists(st.integers(1, capacity), max_size=60))
    return np.array(sizes, np.int64), capacity


def textbook(sizes, capacity):
    """The rooms that are left in the bins, ascending."""
    rooms: list[int] = []
    for size in sorted(sizes, reverse=True):
        place = bisect.bisect_left(rooms, size)
        room = rooms.pop(place) if place < len(rooms) else capacity
        bisect.insort(rooms, room - size)
    return rooms


@given(pieces())
def test_bins_are_filled_as_in_the_textbook(drawn):
    sizes, capacity = drawn
    bins, _, count = best_fit(sizes, capacity)
    rooms = textbook(sizes.tolist(), capacity)
    assert count == len(rooms) == bins_needed(sizes, capacity)
    used = np.bincount(bins, weights=sizes, minlength=count).astype(int)
    assert sorted((capacity - used).tolist()) == rooms


@given(pieces())
def test_pieces_of_a_bin_stand_side_by_side(drawn):
    sizes, capacity = drawn
    bins, begins, count = best_fit(sizes, capacity)
    for number in range(count):
        members = np.flatnonzero(bins == number)
        members = members[np.argsort(begins[members])]
        ends = np.cumsum(sizes[members])
        assert begins[members].tolist() == (ends - sizes[members]).tolist()
        assert ends[-1] <= capacity


def test_many_pieces_take_few_steps():
    """A block's worth of documents, long and short, wastes next to nothing."""
    sizes = np.random.default_rng(0).lognormal(6, 1.2, 200_000).astype(np.int64).clip(2, 2049)
    assert sizes.sum() / (bins_needed(sizes, 2049) * 2049) > 0.9995
