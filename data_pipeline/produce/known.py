"""What is known of some of a corpus's documents, at the cost of those alone."""

import numpy as np


class Known:
    """Columns of int64 by ordinal, looked up by bisection: 8 bytes a document for its ordinal and for each column."""

    def __init__(self, columns: int):
        self._ordinals = np.empty(0, np.int64)
        self._columns = np.empty((columns, 0), np.int64)

    def missing(self, ordinals: np.ndarray) -> np.ndarray:
        """Those of `ordinals` that nothing is known of, ascending, each once."""
        return np.setdiff1d(ordinals, self._ordinals)

    def add(self, ordinals: np.ndarray, *columns: np.ndarray) -> None:
        """`ordinals` must be new."""
        self._ordinals = np.concatenate([self._ordinals, ordinals])
        order = np.argsort(self._ordinals, kind="stable")
        self._ordinals = self._ordinals[order]
        self._columns = np.concatenate([self._columns, np.stack(columns)], axis=1)[:, order]

    def find(self, ordinals: np.ndarray) -> np.ndarray:
        """The columns of `ordinals`, int64 `[columns, ordinals]`.

        Raises:
          KeyError: nothing is known of one of them.
        """
        places = np.searchsorted(self._ordinals, ordinals)
        found = np.take(self._ordinals, places, mode="clip") if len(self._ordinals) else np.full(len(ordinals), -1)
        if (found != ordinals).any():
            raise KeyError(int(np.asarray(ordinals)[found != ordinals][0]))
        return self._columns[:, places]
