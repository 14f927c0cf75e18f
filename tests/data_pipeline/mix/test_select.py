"""Selection takes documents in the order that the rules say, however the corpus is cut into chunks and passes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.mix import order as order_module
from data_pipeline.mix import select
from data_pipeline.mix.filter import trainable
from data_pipeline.mix.order import Order
from data_pipeline.mix.select import Rules, Selection
from data_pipeline.mix.spread import Recent
from tests.data_pipeline.mix.indexes import index, plain_order

FOREVER = np.iinfo(np.int64).max


def selection(found, uses, *, order=None, cap=FOREVER, seed=3, block=5, recent=None, workers=1):
    uses = np.array(uses, np.uint16)
    groups = len(found.names["domain"])
    rules = Rules(found.codes["domain"], np.full(groups, cap), trainable(found), order or Order())
    return Selection(found, rules, lambda begin, end: uses[begin:end], seed, block, recent, workers)


def first(runs, count):
    return list(itertools.islice(itertools.chain.from_iterable(run.tolist() for run in runs), count))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(select, "CHUNK", 5)
    monkeypatch.setattr(order_module, "_PIECE", 2)


documents = st.integers(2, 14).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from("ab"), min_size=n, max_size=n),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),  # uses
        st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=n, max_size=n),  # clusters
        st.lists(st.integers(1, 400), min_size=n, max_size=n),  # bytes
        st.one_of(st.none(), st.lists(st.lists(st.integers(0, n - 1), max_size=4), max_size=3)),  # recent blocks
    )
)


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=80)
@given(documents, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([2, 3, FOREVER]), st.integers(1, 2000))
def test_order_is_the_plain_one(corpus, decay, cap, asked):
    names, uses, cluster, size, recent = corpus
    for ordinal in itertools.chain(*(recent or ())):
        uses[ordinal] += 1
    found = index(names, size=size, cluster=cluster)
    past = None if recent is None else Recent(found, [np.array(part, np.int64) for part in recent])
    chosen = selection(found, uses, order=Order(decay=decay), cap=cap, recent=past, workers=2)
    codes = found.codes["domain"]
    groups = np.unique(codes).tolist()
    chosen.prepare(dict.fromkeys(groups, asked))
    taken: set[int] = set()
    for group in groups:
        expected = plain_order(
            np.flatnonzero(codes == group).tolist(),
            uses,
            cluster=cluster,
            decay=decay,
            cap=cap,
            seed=3,
            block=5,
            recent=recent,
            taken_clusters=taken,
        )
        got = first(chosen.runs(group), 12)
        assert got == list(itertools.islice(expected, 12))
        chosen.took(np.array(got, np.int64))
        taken |= {cluster[m] for m in got} - {0}


@pytest.mark.usefixtures("small_chunks")
def test_what_is_prepared_is_enough_and_little_more():
    rng = np.random.default_rng(0)
    found = index(["a", "b"] * 2000, size=rng.integers(1, 1000, 4000).tolist())
    chosen = selection(found, [0] * 4000)
    ready = chosen.prepare({0: 200_000, 1: 5_000})
    for group, asked in ((0, 200_000), (1, 5_000)):
        size = found.bytes[ready[group]].sum()
        assert asked <= size < asked + 4000
        assert first(chosen.runs(group), len(ready[group])) == ready[group].tolist()


def test_order_depends_on_seed_and_block_and_not_on_threads(monkeypatch):
    monkeypatch.setattr(select, "CHUNK", 64)
    found = index(["a"] * 1000)
    orders = {}
    for seed, block, workers in itertools.product((0, 1), (0, 1), (1, 3)):
        chosen = selection(found, [0] * 1000, seed=seed, block=block, workers=workers)
        chosen.prepare({0: 10_000})
        orders[seed, block, workers] = first(chosen.runs(0), 1000)
    assert all(orders[seed, block, 1] == orders[seed, block, 3] for seed, block, _ in orders)
    assert len({tuple(order) for order in orders.values()}) == 4
    assert all(sorted(order) == list(range(1000)) for order in orders.values())


def test_uses_weigh_by_the_decay():
    """The first of a weighted draw: document i with probability proportional to decay^uses (chi-squared, 3 degrees)."""
    found, uses, draws = index(["a"] * 4), [0, 1, 2, 3], 3000
    counts = np.zeros(4)
    for block in range(draws):
        chosen = selection(found, uses, order=Order(decay=0.5), block=block)
        chosen.prepare({0: 1})
        counts[first(chosen.runs(0), 1)[0]] += 1
    expected = draws * np.array([8, 4, 2, 1]) / 15
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # 1 in 1000


def test_groups_without_documents_and_held_out_ones():
    found = index(["a", "b", "b"], held_out=[True, False, False])
    chosen = selection(found, [0, 0, 0])
    chosen.prepare({0: 10, 1: 10})
    assert list(chosen.runs(0)) == []
    assert set(first(chosen.runs(1), 2)) == {1, 2}


def test_memory_does_not_grow_with_the_corpus():
    """Beyond the index, which would be mapped: a few columns of a chunk for each thread, and what was chosen."""
    import tracemalloc

    peaks = []
    for count in (1 << 20, 1 << 22):
        found = index(["a"])
        found = type(found)(
            names=found.names,
            codes={name: np.zeros(count, np.uint8) for name in found.codes},
            bytes=np.full(count, 1000, np.uint32),
            cluster=np.broadcast_to(np.uint32(0), count),
            held_out=np.broadcast_to(np.False_, count),
            row_groups=np.array([0, count]),
        )
        uses = np.broadcast_to(np.uint16(0), count)
        rules = Rules(found.codes["domain"], np.array([FOREVER]), trainable(found), Order())
        chosen = Selection(found, rules, lambda begin, end, uses=uses: uses[begin:end], 0, 0, None, 1)
        tracemalloc.start()
        chosen.prepare({0: 20_000_000})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 60e6
