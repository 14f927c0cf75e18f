"""The documents of a block, group by group, in the order in which it takes them, from a corpus far larger than memory.

Documents of a group are taken lap by lap: in lap n those used n times so far, with a decay all. Within a lap the lowest
key is next (data_pipeline/mix/order.py). To find the next ones, one pass over the index sums up bytes by key, which
gives a key below which there surely are enough; a second collects what lies below it, and only that is sorted. Neither
the bounds nor the number of threads change the order.

Memory: the columns of 2^20 documents for each thread (about 40 MB), a table of 8 MB, and 16 bytes for each document
collected; 24 bytes for each document of a group that the block takes to its end.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from data_pipeline.mix.filter import Holds
from data_pipeline.mix.index import Index
from data_pipeline.mix.order import RANK_BITS, RANKS, Order, pieces
from data_pipeline.mix.spread import Recent

CHUNK = 1 << 20  # documents that a thread looks at at a time
_MOST_BINS = 1 << 20  # of the table of bytes by key
_MOST_AT_HAND = 1 << 22  # documents of a group that is repeated within a block
_AGAIN = 0.25  # collected next, in relation to what was asked for at first
_NEVER = np.iinfo(np.int64).max
Uses = Callable[[int, int], np.ndarray]  # begin, end -> uses so far, unsigned [end - begin]


@dataclass(frozen=True)
class Rules:
    """What a block may take.

    Attributes:
      codes: the group of each document, unsigned `[documents]`; caps: uses that it may have, int64 `[groups]`.
      holds: which documents count.
    """

    codes: np.ndarray
    caps: np.ndarray
    holds: Holds
    order: Order


class _Members(NamedTuple):
    """Some documents that count, ascending by ordinal; all int64."""

    ordinals: np.ndarray
    groups: np.ndarray
    uses: np.ndarray


class _Found(NamedTuple):
    """Documents with their keys, ascending by key, among equals by ordinal. Without any: a lap's end."""

    keys: np.ndarray
    ordinals: np.ndarray


_NONE = _Found(np.empty(0, np.int64), np.empty(0, np.int64))


class Selection:
    """What one block takes. A pure function of the index, the uses, what was used recently, the seed and the block.

    `prepare` once, then `runs` group by group; `took` tells what was taken of one before the next begins, so that
    near-duplicates stay apart across groups too.
    """

    def __init__(
        self, index: Index, rules: Rules, uses: Uses, seed: int, block: int, recent: Recent | None, workers: int = 0
    ):
        """`recent`: what is to be kept apart from; None: nothing is. `workers`: threads, 0 for one per core."""
        self._index, self._rules, self._uses, self._recent = index, rules, uses, recent
        self._seed, self._block = seed, block
        self._classes = recent.last + 1 if recent else 1
        self._workers = workers or os.cpu_count() or 1
        groups = len(rules.caps)
        self._lap = np.full(groups, -1, np.int64)  # -1: not begun
        self._last = np.zeros(groups, np.int64)  # the lap before which a group ends
        self._documents = np.zeros(groups, np.int64)
        self._low = np.zeros(groups, np.int64)  # keys below are done with, in this lap
        self._ready: dict[int, list[_Found]] = {}
        self._at_hand: dict[int, _Members] = {}
        self._asked: dict[int, int] = {}
        self._clusters = np.empty(0, np.uint32)  # of documents that groups before took

    def prepare(self, size_bytes: Mapping[int, int]) -> dict[int, np.ndarray]:
        """Collects so many bytes of text of each group, in one go, and returns them, by group.

        It is less where a group has less without a repeat. The order is that of `runs`, near-duplicates not set apart.
        """
        self._asked = dict(size_bytes)
        self._collect(self._asked)
        return {group: np.concatenate([part.ordinals for part in parts]) for group, parts in self._ready.items()}

    def size(self, group: int) -> int:
        """Documents of a prepared group, however often they were used."""
        return int(self._documents[group])

    def runs(self, group: int) -> Iterator[np.ndarray]:
        """The documents of a prepared group in order, in runs; they end only where none may be used any more."""
        put_off, seen = _NONE, self._clusters
        while True:
            for found in self._ready.pop(group, []):
                if self._recent is not None:
                    found, put_off, seen = self._set_apart(found, put_off, seen)
                if len(found.ordinals):
                    yield found.ordinals
            if not self._collect({group: max(1, int(self._asked[group] * _AGAIN))}):
                return

    def took(self, ordinals: np.ndarray) -> None:
        """Says what was taken of a group, once it is full."""
        clusters = self._index.cluster[ordinals]
        self._clusters = np.union1d(self._clusters, clusters[clusters > 0])

    def _set_apart(self, found: _Found, put_off: _Found, seen: np.ndarray) -> tuple[_Found, _Found, np.ndarray]:
        """Puts off what has a near-duplicate among `seen`, this block's clusters, to the last class of its lap.

        What was put off takes its place there as soon as that is reached.
        """
        last = (self._classes - 1) << RANK_BITS
        clusters = self._index.cluster[found.ordinals]
        first = np.zeros(len(clusters), bool)
        first[np.unique(clusters, return_index=True)[1]] = True
        late = (clusters > 0) & (~first | np.isin(clusters, seen)) & (found.keys < last)
        put_off = _sorted(
            np.concatenate([put_off.keys, (found.keys[late] & (RANKS - 1)) | last]),
            np.concatenate([put_off.ordinals, found.ordinals[late]]),
        )
        due = len(put_off.keys)
        if len(found.keys):
            due = int(np.searchsorted(put_off.keys, found.keys[-1]))
        found = _sorted(
            np.concatenate([found.keys[~late], put_off.keys[:due]]),
            np.concatenate([found.ordinals[~late], put_off.ordinals[:due]]),
        )
        left = _Found(put_off.keys[due:], put_off.ordinals[due:])
        return found, left, np.union1d(seen, clusters[clusters > 0])

    # --- passes over the index ---------------------------------------------------------------------------------------

    def _collect(self, size_bytes: Mapping[int, int]) -> bool:
        """Readies the next documents of each group, of one lap. False: none are left."""
        groups = np.array(sorted(size_bytes), np.int64)
        if (new := groups[self._lap[groups] < 0]).size:
            self._begin(new)
        groups = groups[self._lap[groups] < self._last[groups]]
        if not len(groups):
            return False
        sizes = np.array([size_bytes[group] for group in groups.tolist()])
        high = self._bounds(groups, sizes)
        parts: list[list[_Found]] = [[] for _ in groups]
        for found in self._each(groups, lambda members, slot: self._below(members, slot, high)):
            for place, part in found:
                parts[place].append(part)
        for place, group in enumerate(groups.tolist()):
            ready = self._ready.setdefault(group, [])
            ready.append(_sorted(*map(np.concatenate, zip(*parts[place], _NONE, strict=True))))
            self._low[group] = high[place]
            if high[place] >= self._classes << RANK_BITS:
                self._lap[group], self._low[group] = self._lap[group] + 1, 0
                ready.append(_NONE)
        self._keep_at_hand(groups[self._low[groups] == 0])
        return True

    def _begin(self, groups: np.ndarray) -> None:
        """Counts the documents of groups, and finds their first laps and where they end."""
        least = np.full(len(groups), _NEVER)
        for counts, found in self._each(groups, lambda members, slot: _count(members, slot, len(groups))):
            self._documents[groups] += counts
            least = np.minimum(least, found)
        caps, decay = self._rules.caps[groups], self._rules.order.decay > 0
        self._lap[groups] = np.where((least == _NEVER) | decay, 0, least)
        self._last[groups] = np.where(least == _NEVER, 0, caps - least if decay else caps)

    def _bounds(self, groups: np.ndarray, size_bytes: np.ndarray) -> np.ndarray:
        """For each group a key below which, in its lap, there are so many bytes, or the lap ends; int64 `[groups]`."""
        bits = int(np.clip(_MOST_BINS // (len(groups) * self._classes), 16, 4096)).bit_length() - 1
        shift, bins = RANK_BITS - bits, self._classes << bits
        size = len(groups) * bins
        total = np.zeros(size)
        for found in self._each(groups, lambda members, slot: self._weigh(members, slot, shift, bins, size)):
            total += found
        reached = np.cumsum(total.reshape(len(groups), bins), axis=1)
        enough = np.array([np.searchsorted(row, size) for row, size in zip(reached, size_bytes, strict=True)])
        return np.minimum(enough + 1, bins) << shift

    def _weigh(self, members: Iterator[_Members], slot: np.ndarray, shift: int, bins: int, size: int) -> np.ndarray:
        places, weights = [np.empty(0, np.int64)], [np.empty(0, np.uint32)]
        for ordinals, groups, keys in map(self._keyed, members):
            places.append(slot[groups] * bins + (keys >> shift))
            weights.append(self._index.bytes[ordinals])
        return np.bincount(np.concatenate(places), np.concatenate(weights), minlength=size)

    def _below(self, members: Iterator[_Members], slot: np.ndarray, high: np.ndarray) -> list[tuple[int, _Found]]:
        """What lies below the bound of its group, by the group's slot, as it comes."""
        parts = []
        for ordinals, groups, keys in map(self._keyed, members):
            place = slot[groups]
            chosen = np.flatnonzero(keys < high[place])
            chosen = chosen[np.argsort(place[chosen], kind="stable")]
            numbers, starts = np.unique(place[chosen], return_index=True)
            for number, part in zip(numbers.tolist(), np.split(chosen, starts[1:]), strict=False):
                parts.append((number, _Found(keys[part], ordinals[part])))
        return parts

    def _keyed(self, members: _Members) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ordinals, groups, keys) of those members that stand in their group's lap and are not done with."""
        lap = self._lap[members.groups]
        again = lap if self._rules.order.decay else lap - members.uses  # how often the block has taken it by this lap
        there = (again >= 0) & (members.uses + again < self._rules.caps[members.groups])
        ordinals, groups, uses = (column[there] for column in members)
        keys = self._rules.order.ranks(self._index, ordinals, groups, uses, again[there], self._seed, self._block)
        if self._recent is not None:
            classes = self._recent.classes(ordinals, uses)
            keys |= np.where(again[there] > 0, self._recent.last, classes) << RANK_BITS
        ahead = keys >= self._low[groups]
        return ordinals[ahead], groups[ahead], keys[ahead]

    def _each(self, groups: np.ndarray, work: Callable[[Iterator[_Members], np.ndarray], Any]) -> Iterator[Any]:
        """``work(members, slots)`` for all chunks of the index in order; slots: group -> place in `groups`, or -1."""
        slot = np.full(len(self._lap), -1)
        slot[groups] = np.arange(len(groups))
        if len(groups) == 1 and (at_hand := self._at_hand.get(int(groups[0]))):
            yield work(iter([at_hand]), slot)
            return
        starts = range(0, len(self._index), CHUNK)
        if self._workers == 1 or len(starts) == 1:
            yield from (work(self._members(start, slot), slot) for start in starts)
            return
        with ThreadPoolExecutor(self._workers, thread_name_prefix="select") as pool:
            for i in range(0, len(starts), 2 * self._workers):
                yield from pool.map(lambda at: work(self._members(at, slot), slot), starts[i : i + 2 * self._workers])

    def _members(self, start: int, slot: np.ndarray) -> Iterator[_Members]:
        """The documents of a chunk that count and whose group has a slot, a piece at a time."""
        end = min(start + CHUNK, len(self._index))
        used = self._uses(start, end)
        for first, last in pieces(start, end):
            codes = self._rules.codes[first:last]
            wanted = np.flatnonzero((slot[codes] >= 0) & self._rules.holds(first, last))
            uses = used[first - start : last - start][wanted].astype(np.int64)
            yield _Members(wanted + first, codes[wanted].astype(np.int64), uses)

    def _keep_at_hand(self, groups: np.ndarray) -> None:
        """A block that repeats small groups goes on from memory; these have come to a lap's end."""
        new = [g for g in groups.tolist() if g not in self._at_hand and self._documents[g] <= _MOST_AT_HAND]
        if not new:
            return
        parts = [part for chunk in self._each(np.array(new), lambda members, _: list(members)) for part in chunk]
        whole = _Members(*map(np.concatenate, zip(*parts, strict=True)))
        order = np.argsort(whole.groups, kind="stable")
        bounds = np.searchsorted(whole.groups[order], [*new, len(self._lap)])
        for group, begin, end in zip(new, bounds[:-1], bounds[1:], strict=True):
            self._at_hand[group] = _Members(*(column[order[begin:end]] for column in whole))


def _count(members: Iterator[_Members], slot: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """How many documents each slot has, and the least uses among them."""
    counts, least = np.zeros(num, np.int64), np.full(num, _NEVER)
    for part in members:
        place = slot[part.groups]
        counts += np.bincount(place, minlength=num)
        np.minimum.at(least, place, part.uses)
    return counts, least


def _sorted(keys: np.ndarray, ordinals: np.ndarray) -> _Found:
    order = np.lexsort((ordinals, keys))
    return _Found(keys[order], ordinals[order])
