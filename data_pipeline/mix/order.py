"""In which order documents are taken: each one's key, a pure function of (seed, block, uses, score).

A key is an integer: of the documents of a group the one with the lowest is next, among equals the first. It is made of
a class (data_pipeline/mix/spread.py; 0 where nothing is in the way) and of a rank of 40 bits within that class.

What makes the rank:

- at random: a hash;
- by a score: the place of the document's score among those of its group, mixed with a hash by `noise`;
- with a decay: Efraimidis and Spirakis 2006, algorithm A. The key E / w of a document with weight w, E exponentially
  distributed, orders a weighted sample without replacement; w = decay^uses. Only the order counts, so that
  log E - uses · log(decay) serves as well, and does not run out of range.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data_pipeline.mix.config import OrderConfig
from data_pipeline.mix.hashing import hashes, log
from data_pipeline.mix.index import Index

RANK_BITS = 40
RANKS = 1 << RANK_BITS
_LAP_SHIFT = 44  # above all ordinals
_PIECE = 1 << 16  # documents looked at together: what is worked out about them stays in a core's cache
SAMPLE = 1 << 18  # scores of a group that stand for all of them, drawn by hash; a smaller group is taken whole


@dataclass(frozen=True)
class Order:
    """How ranks are made.

    Attributes:
      decay: 0: uses do not change a rank (selection goes by them before); above: see the module.
      places: with config.by, the sorted scores of each group, by its code.
    """

    config: OrderConfig = OrderConfig()
    decay: float = 0.0
    places: Mapping[int, np.ndarray] | None = None

    def ranks(
        self,
        index: Index,
        ordinals: np.ndarray,
        groups: np.ndarray,
        uses: np.ndarray,
        again: np.ndarray,
        seed: int,
        block: int,
    ) -> np.ndarray:
        """A rank for each of `ordinals`, int64 in [0, RANKS) `[documents]`.

        Args:
          groups, uses: of the same documents; again: how often the block has taken each already.
        """
        drawn = ordinals | (again << _LAP_SHIFT) if self.decay else ordinals  # with a decay, each lap is a new draw
        ranks = (hashes(drawn, seed, block, "select") >> np.uint64(64 - RANK_BITS)).astype(np.int64)
        if self.config.lot == "row_group":
            lots = np.searchsorted(index.row_groups, ordinals, side="right")
            lots |= again << _LAP_SHIFT if self.decay else 0
            ranks = (hashes(lots, seed, block, "lot") >> np.uint64(40)).astype(np.int64) << 16 | ranks >> 24
        if self.places is not None:
            return self._by_score(index.score(self.config.by)[ordinals], groups, ranks)
        return _weighted(ranks, uses, self.decay) if self.decay else ranks

    def _by_score(self, scores: np.ndarray, groups: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        noise, place = self.config.noise, np.empty(len(scores))
        for group in np.unique(groups).tolist():
            of_group = groups == group
            place[of_group] = places(self.places[group], scores[of_group]) if self.places else 0.0
        if self.config.descending:
            place = 1 - place
        # What has no score comes last, whatever the noise.
        mixed = np.where(np.isnan(place), 1.0, (1 - noise) * place + noise * (ranks / RANKS))
        return np.minimum((mixed * RANKS).astype(np.int64), RANKS - 1)


def _weighted(ranks: np.ndarray, uses: np.ndarray, decay: float) -> np.ndarray:
    exponential = -log((ranks + 0.5) / RANKS)
    key = log(exponential) - uses * log(np.array(decay))
    squashed = 0.5 + 0.5 * key / (1 + np.abs(key))  # ascending, within (0, 1)
    return np.clip((squashed * RANKS).astype(np.int64), 0, RANKS - 1)


def places(sorted_scores: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Where scores stand among sorted ones, in [0, 1], linear between two; NaN for NaN; float64 `[documents]`."""
    scores = scores.astype(np.float64)
    if not len(sorted_scores):
        return np.full(len(scores), np.nan)
    known = sorted_scores.astype(np.float64)
    right = np.clip(np.searchsorted(known, scores, side="left"), 1, max(len(known) - 1, 1))
    low, high = known[right - 1], known[np.minimum(right, len(known) - 1)]
    between = np.clip((scores - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    return (right - 1 + between) / max(len(known) - 1, 1)


def sample_scores(
    index: Index, name: str, codes: np.ndarray, holds: Callable[[int, int], np.ndarray], groups: int
) -> dict[int, np.ndarray]:
    """The sorted scores of each group, or of SAMPLE documents of it, by the group's code. NaN are left out.

    Args:
      holds: which documents of [begin, end) count, bool `[end - begin]`.
    """
    counts = np.zeros(groups, np.int64)
    for begin, end in pieces(0, len(index)):
        counts += np.bincount(codes[begin:end][holds(begin, end)], minlength=groups)
    below = np.minimum(SAMPLE / np.maximum(counts, 1), 1.0) * 2**63
    found: dict[int, list[np.ndarray]] = {group: [] for group in np.flatnonzero(counts).tolist()}
    for begin, end in pieces(0, len(index)):
        ordinals = np.arange(begin, end)
        group, score = codes[begin:end], index.score(name)[begin:end].astype(np.float32)
        drawn = (hashes(ordinals, "scores") >> np.uint64(1)) <= below[group]
        drawn &= holds(begin, end) & ~np.isnan(score)
        for code in np.unique(group[drawn]).tolist():
            found[code].append(score[drawn & (group == code)])
    return {code: np.sort(np.concatenate([np.empty(0, np.float32), *parts])) for code, parts in found.items()}


def pieces(begin: int, end: int):
    """Bounds of documents to look at together, in order."""
    for start in range(begin, end, _PIECE):
        yield start, min(start + _PIECE, end)


def by_hash(members: np.ndarray, seed: int, block: int) -> np.ndarray:
    """`members` in the random order in which `block` takes unused documents."""
    return members[np.argsort(hashes(members, seed, block, "select") >> np.uint64(64 - RANK_BITS), kind="stable")]
