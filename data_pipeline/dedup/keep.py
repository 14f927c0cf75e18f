"""Which copy stays: the best of its kind, and everything that isn't near-duplicate to a document that stays.

Documents are taken in order of rank. One goes only if a better one *that stays* and shares a bucket with it is similar
enough; so a chain a~b~c whose ends differ loses b, and never c for resembling b. This is the first maximal independent
set of the near-duplicates in order of rank.

Signatures estimate the similarity. Where the estimate lies so near the threshold that it may err, the shingles
themselves decide: `survey` says between which documents, `settle` decides once their shingles are there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from data_pipeline.config import DedupConfig
from data_pipeline.dedup.links import contract
from data_pipeline.dedup.members import Members, doubt

# In a bucket others are compared with so many of the documents that stay, the best: a template that a million pages
# share, which differ in the rest, costs so many comparisons a page. Pages that are alike share other buckets too.
COMPARED = 64
_IN_DOUBT = 4 * COMPARED  # and with no more than these while it isn't known which of them stay

# Similarity of the first document and each of the others, by their shingles; NaN where they are not known.
Exact = Callable[[int, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What is decided, by place in the order of rank: int64 and float64 [members]."""

    kept: np.ndarray  # the document that this one repeats; -1: it stays
    similarity: np.ndarray
    cluster: np.ndarray  # the first of those that are near-duplicates, or nearly so; itself where it is alone


def firsts(members: Members) -> np.ndarray:
    """For each member the best one with the same digest: int64 [members]."""
    order = np.lexsort((members.digests[:, 1], members.digests[:, 0]))  # stable: the best of a digest comes first
    ordered = members.digests[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    best = np.empty(len(order), np.int64)
    best[order] = order[new][np.cumsum(new) - 1] if len(order) else order
    return best


class _Buckets:
    """Those documents in each bucket that others are compared with."""

    def __init__(self, members: Members, taking: np.ndarray):
        rows = np.flatnonzero(taking)
        _, bucket, sizes = np.unique(members.keys[rows].ravel(), return_inverse=True, return_counts=True)
        bucket = bucket.ravel()
        shared = sizes[bucket] > 1
        owners = np.repeat(rows, members.keys.shape[1])[shared]
        self._of = bucket[shared].tolist()
        self._bounds = np.searchsorted(owners, np.arange(len(members) + 1)).tolist()
        self._standing: list[list[int]] = [[] for _ in sizes]
        self._sure = [0] * len(sizes)

    def of(self, member: int) -> list[int]:
        return self._of[self._bounds[member] : self._bounds[member + 1]]

    def mates(self, member: int) -> np.ndarray:
        """Those that `member` is compared with, in order of rank."""
        return np.array(sorted(set(chain.from_iterable(self._standing[b] for b in self.of(member)))), np.int64)

    def add(self, member: int, sure: bool = True) -> None:
        """Lets those that follow be compared with this one."""
        for bucket in self.of(member):
            if self._sure[bucket] < COMPARED and (sure or len(self._standing[bucket]) < _IN_DOUBT):
                self._standing[bucket].append(member)
                self._sure[bucket] += sure


@dataclass(frozen=True)
class _Comparison:
    """A document beside better ones of its buckets."""

    member: int
    mates: np.ndarray
    estimates: np.ndarray
    thresholds: np.ndarray  # of each pair
    above: np.ndarray  # bool: near-duplicates for sure
    doubtful: np.ndarray  # bool: so near the threshold that the estimate may err


def _compare(members: Members, thresholds: np.ndarray, slack: bool, member: int, mates: np.ndarray) -> _Comparison:
    num_perm = members.signatures.shape[1]
    estimates = (members.signatures[mates] == members.signatures[member]).mean(axis=1)
    pair = np.maximum(thresholds[mates], thresholds[member])
    if not slack:
        above = estimates >= pair
        return _Comparison(member, mates, estimates, pair, above, np.zeros(len(mates), bool))
    least, largest = doubt(pair, num_perm)
    above = estimates > largest
    return _Comparison(member, mates, estimates, pair, above, ~above & (estimates >= least))


def _comparisons(members: Members, config: DedupConfig, taking: np.ndarray, buckets: _Buckets, slack: bool):
    """Each document that takes part, in order of rank, with its comparison (None: nothing to compare it with)."""
    thresholds = members.thresholds(config)
    for member in np.flatnonzero(taking).tolist():
        mates = np.empty(0, np.int64) if members.earlier[member] else buckets.mates(member)
        yield member, _compare(members, thresholds, slack, member, mates) if len(mates) else None


def survey(members: Members, config: DedupConfig) -> np.ndarray:
    """The members whose shingles `settle` will ask for: places, ascending."""
    taking = members.signed & (firsts(members) == np.arange(len(members)))
    buckets, wanted = _Buckets(members, taking), set()
    unknown = np.zeros(len(members), bool)
    for member, found in _comparisons(members, config, taking, buckets, slack=True):
        if found is None or not (found.above | found.doubtful).any():
            buckets.add(member)
        elif not (found.above & ~unknown[found.mates]).any():
            # Similar for sure only to what may not stay itself, or in doubt: this one may stay, or not.
            if found.doubtful.any():
                wanted.update(found.mates[found.doubtful].tolist(), (member,))
            unknown[member] = True
            buckets.add(member, sure=False)
    return np.array(sorted(wanted), np.int64)


def settle(members: Members, config: DedupConfig, exact: Exact | None) -> Outcome:
    """What goes and what stays, and the clusters; without `exact` by estimates alone."""
    best = firsts(members)
    taking = members.signed & (best == np.arange(len(members)))
    buckets = _Buckets(members, taking)
    kept, similarity = np.full(len(members), -1, np.int64), np.full(len(members), np.nan)
    links = [np.stack([np.arange(len(members)), best], axis=1)]
    for member, found in _comparisons(members, config, taking, buckets, slack=exact is not None):
        if found is not None:
            kept[member], similarity[member] = _nearest(found, exact)
            near = found.mates[found.above | found.doubtful]
            links.append(np.stack([np.full(len(near), member), near], axis=1))
        if kept[member] < 0:
            buckets.add(member)
    # An equal copy of one that goes, goes for its reason; of one that stays, for being equal.
    copies = (best != np.arange(len(members))) & ~members.earlier
    gone = copies & (kept[best] >= 0)
    kept[gone], similarity[gone] = kept[best[gone]], similarity[best[gone]]
    equal = copies & ~gone
    kept[equal], similarity[equal] = best[equal], 1.0
    return Outcome(kept, similarity, _clusters(len(members), np.concatenate(links)))


def _nearest(found: _Comparison, exact: Exact | None) -> tuple[int, float]:
    """The most similar of the documents that stay, if it is near enough, else -1; of equals the best."""
    if found.above.any():
        nearest = int(np.argmax(np.where(found.above, found.estimates, -1)))
        return int(found.mates[nearest]), float(found.estimates[nearest])
    if exact is None or not found.doubtful.any():
        return -1, np.nan
    similar = exact(found.member, found.mates[found.doubtful])
    similar = np.where(np.isnan(similar), found.estimates[found.doubtful], similar)
    similar = np.where(similar >= found.thresholds[found.doubtful], similar, -1)
    nearest = int(np.argmax(similar))
    if similar[nearest] < 0:
        return -1, np.nan
    return int(found.mates[found.doubtful][nearest]), float(similar[nearest])


def _clusters(count: int, links: np.ndarray) -> np.ndarray:
    """The first of each member's cluster."""
    cluster = np.arange(count)
    joined = contract(links)
    cluster[joined[:, 0]] = joined[:, 1]
    return cluster
