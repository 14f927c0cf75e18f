"""Budgets are exact, and the document used least always comes next."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.mix.hashing import hashes, shuffled
from data_pipeline.mix.select import budgets, in_order, shares
from maxlm.errors import ConfigError


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.integers(0, 10**13))
def test_budgets_sum_exactly_and_are_off_by_less_than_one(weights, tokens):
    share = np.array(weights) / np.sum(weights)
    found = budgets(share, tokens)
    assert found.sum() == tokens
    assert (np.abs(found - share * tokens) < 1 + 1e-9 * tokens).all()


def test_shares():
    domains, sizes = ("code", "en", "zh"), np.array([30, 10, 60])
    np.testing.assert_allclose(shares({}, domains, sizes), [0.3, 0.1, 0.6])
    np.testing.assert_allclose(shares({"zh": 3, "code": 1}, domains, sizes), [0.25, 0, 0.75])
    with pytest.raises(ConfigError, match="no documents of domain 'cod'; did you mean 'code'"):
        shares({"cod": 1}, domains, sizes)
    with pytest.raises(ConfigError, match="no documents of domain 'en'"):
        shares({"en": 1}, domains, np.array([1, 0, 1]))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 5), st.integers(0, 3))
def test_order_is_that_of_always_taking_the_least_used(uses, seed, block):
    used = np.array(uses, np.uint32)
    members = np.arange(0, 2 * len(uses), 2)  # ordinals between belong to other domains
    by_ordinal = np.repeat(used, 2)
    rank = hashes(members, seed, block, "select")
    heap = [(int(use), int(key), int(member)) for use, key, member in zip(used, rank, members, strict=True)]
    heapq.heapify(heap)
    expected = []
    for _ in range(40):
        use, key, member = heapq.heappop(heap)
        expected.append(member)
        heapq.heappush(heap, (use + 1, key, member))
    runs = in_order(members, by_ordinal, seed, block)
    found = list(itertools.islice(itertools.chain.from_iterable(run.tolist() for run in runs), 40))
    assert found == expected


def test_order_depends_on_seed_and_block():
    orders = {
        (seed, block): next(in_order(np.arange(50), np.zeros(50), seed, block)).tolist()
        for seed in (0, 1)
        for block in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    assert next(in_order(np.arange(50), np.zeros(50), 1, 1)).tolist() == orders[1, 1]


def test_hashes_never_change():
    """Blocks of a data set must come out the same with later versions: these numbers are part of the format."""
    assert hashes(np.arange(3), 7, 0, "select").tolist() == [
        887569940239999050,
        13341786368332451138,
        16104183039317246773,
    ]
    assert shuffled(8, 7, 0, "pack").tolist() == [4, 6, 7, 1, 3, 2, 5, 0]
