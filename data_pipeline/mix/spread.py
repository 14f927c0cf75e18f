"""Keeps near-duplicates of one cluster, and repeats of a document, apart.

A document's class says what stands in its way: 0, nothing; from 1 on, that itself or one of its cluster was used in one
of the blocks before, the longest ago first; the last class, in this very block. Of documents with equally many uses
those of a lower class come first, so that a near-duplicate is taken only where no other choice is left.
"""

from collections.abc import Sequence

import numpy as np

from data_pipeline.mix.index import Index

_MOST_CLASSES = 254
_BITS = 22  # of the table that answers for most documents that nothing is known of them


def keys(index: Index, ordinals: np.ndarray) -> np.ndarray:
    """What documents of one cluster have in common, and no others: the cluster, or else the document; uint64."""
    cluster = index.cluster[ordinals].astype(np.uint64)
    return np.where(cluster > 0, cluster, ordinals.astype(np.uint64) + np.uint64(1 << 32))


class Recent:
    """What the blocks before this one used."""

    def __init__(self, index: Index, blocks: Sequence[np.ndarray]):
        """`blocks`: the ordinals that each took, the latest first."""
        self._index = index
        parts = [np.unique(keys(index, ordinals)) for ordinals in blocks]
        num = min(len(blocks), _MOST_CLASSES)
        self.last = num + 1  # class of what this block itself used
        ages = [np.full(len(part), age) for age, part in enumerate(parts)]
        key = np.concatenate([np.empty(0, np.uint64), *parts])
        age = np.concatenate([np.empty(0, np.int64), *ages])
        self._keys, first = np.unique(key, return_index=True)  # of several uses the latest: it stands first
        # Age 0, the block right before, has the highest class of the past; the oldest has 1.
        self._classes = 1 + (len(blocks) - 1 - age[first]) * num // max(len(blocks), 1)
        self._seen = np.zeros(1 << _BITS, bool)
        self._seen[self._keys & np.uint64((1 << _BITS) - 1)] = True

    def classes(self, ordinals: np.ndarray, uses: np.ndarray) -> np.ndarray:
        """The class of each document, int64 `[documents]`."""
        found = np.zeros(len(ordinals), np.int64)
        asked = np.flatnonzero((uses > 0) | (self._index.cluster[ordinals] > 0))
        key = keys(self._index, ordinals[asked])
        likely = self._seen[key & np.uint64((1 << _BITS) - 1)]
        asked, key = asked[likely], key[likely]
        place = np.minimum(np.searchsorted(self._keys, key), max(len(self._keys) - 1, 0))
        known = self._keys[place] == key if len(self._keys) else np.zeros(len(key), bool)
        found[asked[known]] = self._classes[place[known]]
        return found
