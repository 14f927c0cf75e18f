"""Budgets in tokens are filled with documents, as a selection yields them; what one name lacks, others make up for."""

from collections.abc import Callable, Iterator

import numpy as np

from data_pipeline.mix import schedule
from data_pipeline.mix.filter import Holds
from data_pipeline.mix.index import Index
from data_pipeline.mix.order import Order
from data_pipeline.mix.select import Rules, Selection
from maxlm.errors import DataError

_MARGIN = 1.02  # look at this much more than the budget seems to need, so that a second pass over the corpus is rare

Measure = Callable[[np.ndarray], np.ndarray]  # ordinals -> their tokens, int64; encodes those that are new


def in_random_order(
    index: Index, codes: np.ndarray, names: int, among: Holds, seed: int, workers: int = 0
) -> Selection:
    """All documents of `among`, each once, drawn group by group without regard to uses: for samples and validation."""

    def unused(begin: int, end: int) -> np.ndarray:
        return np.zeros(end - begin, np.uint16)

    return Selection(index, Rules(codes, np.ones(names, np.int64), among, Order()), unused, seed, 0, None, workers)


class FruitlessError(Exception):
    """The documents of a group were looked through, and none has tokens. `documents`: ordinals of some."""

    def __init__(self, documents: np.ndarray):
        super().__init__("documents without tokens")
        self.documents = documents


class Filling:
    """Takes documents from a selection until budgets in tokens are met."""

    def __init__(self, selection: Selection, size_bytes: np.ndarray, bytes_per_token: np.ndarray, measure: Measure):
        self._selection, self._bytes = selection, size_bytes
        self._bytes_per_token, self._measure = bytes_per_token, measure

    def fill(
        self, budgets: np.ndarray, share: np.ndarray, redistribute: bool, names: tuple[str, ...], block: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Documents that hold the tokens of all budgets, and the budgets as they came out, both int64.

        What a group lacks goes to the others by their `share`, or stops the run.

        Raises:
          DataError: there are not enough documents left.
          FruitlessError: those of a group have no tokens.
        """
        budgets = budgets.copy()
        groups = np.flatnonzero(budgets).tolist()
        likely = self._selection.prepare({group: self._size(group, int(budgets[group])) for group in groups})
        # What all groups need first is measured at once: one pass over the corpus.
        firsts = [part[: self._enough(part, group, int(budgets[group]))] for group, part in likely.items()]
        self._measure(np.concatenate(firsts) if firsts else np.empty(0, np.int64))
        open_runs = {group: _Runs(self._selection.runs(group)) for group in groups}
        chosen: dict[int, list[np.ndarray]] = {group: [] for group in groups}
        missing = {group: int(budgets[group]) for group in groups}
        while missing:
            lacking = 0
            for group, tokens in missing.items():
                taken, left = self._take(open_runs[group], group, tokens)
                chosen[group].append(taken)
                self._selection.took(taken)
                if left:
                    del open_runs[group]
                    budgets[group] -= left
                    lacking += left
            if lacking and not (redistribute and open_runs):
                raise DataError(self._exhausted(names, set(groups) - set(open_runs), block, bool(open_runs)))
            missing = {}
            if lacking:
                still = np.isin(np.arange(len(share)), list(open_runs))
                more = schedule.budgets(np.where(still, share, 0), lacking)
                budgets += more
                missing = {group: int(more[group]) for group in np.flatnonzero(more).tolist()}
        parts = [part for group in groups for part in chosen[group]]
        return np.concatenate(parts), budgets

    def upto(self, group: int, tokens: int) -> np.ndarray:
        """Documents of one group until they hold `tokens`, or all there are. Raises FruitlessError: none has tokens."""
        self._selection.prepare({group: self._size(group, tokens)})
        return self._take(_Runs(self._selection.runs(group)), group, tokens)[0]

    def _take(self, runs: "_Runs", group: int, budget: int) -> tuple[np.ndarray, int]:
        """Documents until their tokens reach `budget`, and how many tokens are lacking where they end before."""
        chosen, fruitless = [np.empty(0, np.int64)], 0  # documents since one had tokens
        budget -= runs.over(budget)
        while budget > 0:
            run = runs.peek()
            if run is None:
                return np.concatenate(chosen), budget
            part = run[: self._enough(run, group, budget)]
            ends = np.cumsum(self._measure(part))
            fruitless = 0 if ends[-1] else fruitless + len(part)
            if fruitless > 2 * self._selection.size(group):  # last in one lap, a document may be first in the next
                raise FruitlessError(part)
            if ends[-1] >= budget:
                part = part[: int(np.searchsorted(ends, budget)) + 1]
                runs.left_over = int(ends[len(part) - 1]) - budget
                budget = 0
            else:
                budget -= int(ends[-1])
            chosen.append(part)
            runs.advance(len(part))
        return np.concatenate(chosen), 0

    def _size(self, group: int, tokens: int) -> int:
        return int(tokens * self._bytes_per_token[group] * _MARGIN) + 1

    def _enough(self, run: np.ndarray, group: int, tokens: int) -> int:
        """How many documents of `run` likely hold `tokens` tokens; at least one."""
        ends = np.cumsum(self._bytes[run], dtype=np.int64)
        return int(np.searchsorted(ends, self._size(group, tokens))) + 1

    def _exhausted(self, names: tuple[str, ...], groups: set[int], block: int, others: bool) -> str:
        ended = ", ".join(names[group] for group in sorted(groups))
        ways = "raise config.mixture.max_uses, bring more documents"
        if others:
            ways += ", or give its tokens to the others (config.mixture.exhausted='redistribute')"
        return f"block {block}: {ended} is used up as often as it may be: {ways}; nothing of the block was written"


class _Runs:
    """Runs of documents that can be taken a part at a time.

    Attributes:
      left_over: tokens of the last document taken that its budget had no room for; they come first when there is more.
    """

    def __init__(self, runs: Iterator[np.ndarray]):
        self._runs, self._run, self.left_over = runs, np.empty(0, np.int64), 0

    def over(self, budget: int) -> int:
        """Takes what is left over, as far as `budget` goes; returns how much that was."""
        used = min(self.left_over, budget)
        self.left_over -= used
        return used

    def peek(self) -> np.ndarray | None:
        """What comes next, at least a document; None at the end."""
        while not len(self._run):
            run = next(self._runs, None)
            if run is None:
                return None
            self._run = run
        return self._run

    def advance(self, documents: int) -> None:
        self._run = self._run[documents:]
