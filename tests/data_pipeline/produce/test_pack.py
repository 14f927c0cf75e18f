"""Whatever is packed, and however: every token kept stands in one place that is learnt from, or is mere context."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.produce import pack
from data_pipeline.produce.pack import Shape
from data_pipeline.produce.rows import Documents, rows_of
from maxlm.blocks.format import PADDING_DOMAIN, Rows, to_batch
from maxlm.blocks.manifest import TokenAccount

PAD = 9_999_999
LENGTHS = (16, 8, 4)  # of rows


@st.composite
def shapes(draw):
    """A packer with its options; how many rows there are is not said yet."""
    if draw(st.booleans()):
        return Shape("concatenate", {draw(st.sampled_from(LENGTHS)): 1})
    lengths = sorted(draw(st.sets(st.sampled_from(LENGTHS), min_size=1)), reverse=True)
    shares = {length: draw(st.integers(1, 5)) * 16 // length for length in lengths}
    return Shape("best_fit", shares, draw(st.integers(0, lengths[-1])))


@st.composite
def uses(draw):
    """Documents, each of whose tokens names it and its place: (documents, kept)."""
    near = [size + near for size in (4, 8, 16, 17, 34) for near in (0, 1, 2)]
    sizes = st.one_of(st.sampled_from([2, 3, *near]), st.integers(2, 60))
    lengths = np.array(draw(st.lists(sizes, min_size=1, max_size=20)), np.int64)
    kept = np.array([draw(st.sampled_from([0, 1, length - 1, length, length, length])) for length in lengths])
    learnt = [draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n)) for n in lengths.tolist()]
    domains = np.array([draw(st.integers(0, 2)) for _ in lengths], np.uint8)
    tokens = np.concatenate([1000 * i + np.arange(length) for i, length in enumerate(lengths)])
    return documents_of(tokens, np.cumsum(lengths) - lengths, learnt, domains), kept, learnt


def documents_of(tokens, offsets, learnt, domains, seconds=0):
    """`learnt`: of each document which tokens are; None: all."""
    masks = np.full(len(learnt), -1)
    for i, each in enumerate(learnt):
        if each is not None:
            bits = [*each, *[False] * (-len(each) % 16)]
            words = [
                sum(bit << place for place, bit in enumerate(bits[at : at + 16])) for at in range(0, len(bits), 16)
            ]
            masks[i], tokens = len(tokens), np.concatenate([tokens, words])

    def read(offset, out):
        assert offset + len(out) <= len(tokens)
        out[:] = tokens[offset : offset + len(out)]

    return Documents(read, tokens.dtype, offsets, masks, np.zeros(len(learnt), int) + seconds, domains)


def made(documents, kept, shape, spare=0, chunk_tokens=1_000_000):
    """Rows of each length, with `spare` empty ones after them."""
    found = {}
    for length, layout in pack.lay_out(shape, kept, seed=3, block=5).items():
        count = int(layout.row.max(initial=-1)) + 1 + spare
        chunks = list(rows_of(documents, layout, length + 1, 0, count, PAD, chunk_tokens))
        found[length] = Rows(*(np.concatenate(columns) for columns in zip(*chunks, strict=True))) if chunks else None
    return found


def places(rows, which):
    """(document, place) of the tokens at some places of the rows, counted."""
    found = Counter()
    for each in rows.values():
        if each is not None:
            found.update(each.tokens[which(each)].tolist())
    return found


@given(uses(), shapes())
def test_every_token_stands_in_one_place_and_is_masked_where_it_should(drawn, shape):
    documents, kept, masks = drawn
    rows = made(documents, kept, shape)
    everything = Counter(t for i, count in enumerate(kept) for t in range(1000 * i, 1000 * i + count))
    learnt = Counter({t: 1 for t in everything if masks[t // 1000] is None or masks[t // 1000][t % 1000]})
    assert places(rows, lambda r: r.learn) == learnt
    held = places(rows, lambda r: r.domains != PADDING_DOMAIN)
    assert set(held) == set(everything)
    assert places(rows, lambda r: r.domains == PADDING_DOMAIN).keys() <= {PAD}
    layouts = pack.lay_out(shape, kept, 3, 5)
    repeated = sum(int(layout.pieces.repeated.sum()) for layout in layouts.values())
    assert held.total() - len(held) == repeated  # what stands in two places stands in the second as context
    assert not repeated or shape.overlap
    capacity = sum(each.tokens.size for each in rows.values() if each is not None)
    written = int(kept.sum())
    account = TokenAccount(written, written, 0, capacity - written - repeated, repeated)
    account.check(capacity, "here")
    if shape.packer == "concatenate":
        assert account.padded < max(shape.rows) + 1  # the last row's end


@given(uses(), shapes())
def test_segments_never_cross_documents(drawn, shape):
    documents, kept, _ = drawn
    for rows in made(documents, kept, shape, spare=1).values():
        batch = to_batch(rows)
        held = rows.domains != PADDING_DOMAIN
        assert rows.starts[:, 0].all()
        inside = held[:, 1:] & ~rows.starts[:, 1:]
        steps = np.diff(rows.tokens, axis=1)
        assert (steps[inside] == 1).all()  # the next token of the same document
        domains = documents.domains[rows.tokens[held] // 1000]
        assert rows.domains[held].tolist() == domains.tolist()
        assert not batch.weights[~held[:, 1:]].any()
        assert not batch.weights[rows.starts[:, 1:]].any()


@given(uses(), shapes(), st.integers(1, 60))
def test_rows_do_not_depend_on_how_they_are_cut_into_chunks(drawn, shape, chunk_tokens):
    documents, kept, _ = drawn
    for whole, chunked in zip(
        made(documents, kept, shape, 2).values(), made(documents, kept, shape, 2, chunk_tokens).values(), strict=True
    ):
        for a, b in zip(whole, chunked, strict=True):
            np.testing.assert_array_equal(a, b)


@given(uses(), shapes())
def test_rows_are_as_many_as_was_foretold(drawn, shape):
    _, kept, _ = drawn
    found = {length: int(layout.row.max(initial=-1)) + 1 for length, layout in pack.lay_out(shape, kept, 3, 5).items()}
    assert found == pack.rows_needed(shape, kept, 3, 5)
    assert list(found) == list(shape.rows)


@given(uses(), shapes())
def test_cuts_are_counted(drawn, shape):
    documents, kept, _ = drawn
    longest = max(shape.rows) + 1
    pieces = [Counter() for _ in kept]
    for rows in made(documents, kept, shape).values():
        if rows is not None:
            held = (rows.domains != PADDING_DOMAIN) & rows.starts
            for token in rows.tokens[held].tolist():
                pieces[token // 1000][token % 1000] += 1
    cut = [i for i, found in enumerate(pieces) if len(found) > 1]
    layouts = pack.lay_out(shape, kept, 3, 5)
    documents_cut, tokens_cut, documents_split, tokens_split = pack.cuts(layouts, kept, longest).tolist()
    assert documents_cut == sum(kept[i] <= longest for i in cut)
    assert documents_split == sum(kept[i] > longest for i in cut)
    if shape.packer == "concatenate":
        behind = [int(kept[i]) - sorted(pieces[i])[1] for i in cut]
        assert tokens_cut + tokens_split == sum(behind)
    elif len(shape.rows) == 1:
        assert documents_cut == tokens_cut == 0
        assert tokens_split == sum(int(kept[i]) - longest for i in cut)


def test_lengths_run_out_of_rows_together():
    """Whatever the lengths of the documents, and however short rows are beside them."""
    rng = np.random.default_rng(0)
    for mean in (2.0, 3.0, 5.0):
        kept = rng.lognormal(mean, 1.0, 4000).astype(np.int64) + 2
        for overlap in (0, 3):
            shape = Shape("best_fit", {16: 300, 8: 200, 4: 500}, overlap)
            needed = pack.rows_needed(shape, kept, 0, 0)
            filled = [needed[length] / count for length, count in shape.rows.items()]
            assert max(filled) < 1.02 * min(filled)


def test_long_documents_go_into_long_rows_and_short_ones_do_not_pay_for_them():
    kept = np.array([5] * 20 + [17] * 4)
    shape = Shape("best_fit", {16: 4, 4: 20})
    layouts = pack.lay_out(shape, kept, 0, 0)
    assert sorted(kept[layouts[16].pieces.use]) == [17] * 4
    assert sorted(kept[layouts[4].pieces.use]) == [5] * 20
    assert pack.cuts(layouts, kept, 17).tolist() == [0, 0, 0, 0]


def test_a_repetition_is_context_for_what_follows():
    documents = documents_of(np.arange(20), np.zeros(1, int), [[False] * 2 + [True] * 18], np.zeros(1, np.uint8))
    shape = Shape("best_fit", {7: 9}, overlap=3)
    (layout,) = pack.lay_out(shape, np.array([20]), 0, 0).values()
    (rows,) = rows_of(documents, layout, 8, 0, 4, PAD)
    found = sorted(zip(rows.tokens.tolist(), rows.learn.tolist(), strict=True))
    assert found == [
        ([0, 1, 2, 3, 4, 5, 6, 7], [False] * 2 + [True] * 6),  # of the prompt nothing is learnt
        ([5, 6, 7, 8, 9, 10, 11, 12], [False] * 3 + [True] * 5),
        ([10, 11, 12, 13, 14, 15, 16, 17], [False] * 3 + [True] * 5),
        ([15, 16, 17, 18, 19, PAD, PAD, PAD], [False] * 3 + [True] * 2 + [False] * 3),
    ]


def test_a_pair_is_two_segments_of_one_row():
    learnt = [[False, True, True, False, False, True], None]
    documents = documents_of(np.arange(10), np.array([0, 6]), learnt, np.zeros(2, np.uint8), np.array([3, 0]))
    (layout,) = pack.lay_out(Shape("best_fit", {11: 1}), np.array([6, 4]), 0, 0).values()
    (rows,) = rows_of(documents, layout, 12, 0, 1, PAD)
    assert rows.tokens.tolist() == [[*range(10), PAD, PAD]]
    assert np.flatnonzero(rows.starts).tolist() == [0, 3, 6]
    assert np.flatnonzero(rows.learn).tolist() == [1, 2, 5, 6, 7, 8, 9]


def test_a_used_up_budget_leaves_documents_out():
    kept = pack.cut(np.array([5, 5, 5, 4]), np.array([0, 0, 0, 1]), np.array([7, 9]))
    assert kept.tolist() == [5, 2, 0, 4]
    whole = np.array([True, True, False, True])
    kept = pack.cut(np.array([5, 5, 5, 4]), np.array([0, 0, 0, 1]), np.array([7, 9]), whole)
    assert kept.tolist() == [5, 0, 0, 4]  # what is kept whole ends no budget in the middle


@pytest.mark.parametrize("packer", ["concatenate", "best_fit"])
def test_order_depends_on_seed_and_block(packer):
    lengths = np.full(30, 3)
    documents = documents_of(np.arange(90), np.arange(0, 90, 3), [None] * 30, np.zeros(30, np.uint8))
    found = set()
    for seed, block in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 0)):
        (layout,) = pack.lay_out(Shape(packer, {8: 10}), lengths, seed, block).values()
        found.add(next(rows_of(documents, layout, 9, 0, 10, PAD)).tokens.tobytes())
    assert len(found) == 4
