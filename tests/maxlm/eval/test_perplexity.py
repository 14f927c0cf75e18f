"""Loss by position against counting by hand."""

import numpy as np
import pytest

from maxlm.blocks.format import Rows, to_batch
from maxlm.eval.perplexity import PositionSums


def test_by_how_much_of_the_document_stands_before():
    starts = np.zeros((2, 10), bool)
    starts[0, [0, 6]] = starts[1, 0] = True
    learn = np.ones((2, 10), bool)
    learn[1, 5] = False
    domains = np.zeros((2, 10), np.uint8)
    domains[1, 8:] = 255  # padding
    batch = to_batch(Rows(np.arange(20).reshape(2, 10), starts, learn, domains))
    nll_BT = np.random.default_rng(0).random((2, 9))
    sums = PositionSums.zeros(9)
    for _ in range(2):  # of two batches alike, the same means
        sums.add(batch, nll_BT)
    # Targets by row and place: tokens 1 to 5 of the first document, 1 to 3 of the second; in the second row 1 to 7
    # without 5. Of each, so many tokens of its document stand before it.
    before = {(0, t): t for t in range(1, 6)} | {(0, 6 + t): t for t in range(1, 4)}
    before |= {(1, t): t for t in (1, 2, 3, 4, 6, 7)}
    expected = {
        first: np.mean([nll_BT[row, place - 1] for (row, place), n in before.items() if first <= n < 2 * first])
        for first in (1, 2, 4)
    }
    assert sums.scalars() == pytest.approx({f"validation/position/{n}": value for n, value in expected.items()})
    assert sums.tokens.sum() == 2 * len(before)
