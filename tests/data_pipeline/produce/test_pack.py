"""Whatever is packed: no token is lost, none appears, and the account balances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.produce import pack
from maxlm.blocks.format import PADDING_DOMAIN, Rows


@st.composite
def packed(draw):
    """Documents with budgets, and the rows they are packed into (with some room to spare)."""
    lengths = np.array(draw(st.lists(st.integers(2, 30), min_size=1, max_size=25)), np.int64)
    domains = np.array(draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths))), np.uint8)
    there = np.bincount(domains, weights=lengths, minlength=3).astype(np.int64)
    budgets = np.array([draw(st.integers(0, int(most))) for most in there])
    kept = pack.cut(lengths, domains, budgets)
    sources = (np.arange(len(lengths)) % 4).astype(np.int32)
    # Each token names its document and its place in it.
    tokens = np.concatenate([1000 * i + np.arange(length) for i, length in enumerate(lengths)])
    pieces = pack.Pieces(tokens, np.cumsum(lengths) - lengths, lengths, kept, domains, sources)
    row_tokens = draw(st.integers(2, 9))
    rows = -(-int(kept.sum()) // row_tokens) + draw(st.integers(0, 3))
    return pieces, budgets, rows, row_tokens


def joined(pieces, rows, row_tokens, **options):
    chunks = list(pack.pack(pieces, rows, row_tokens, seed=3, block=5, pad_id=9_999_999, **options))
    return Rows(*(np.concatenate(columns) for columns in zip(*chunks, strict=True))) if chunks else None


@given(packed(), st.integers(1, 40))
def test_rows_are_the_documents_one_after_the_other(drawn, chunk_tokens):
    pieces, _, count, row_tokens = drawn
    rows = joined(pieces, count, row_tokens, chunk_tokens=chunk_tokens)
    if rows is None:
        assert pieces.kept.sum() == 0
        return
    assert rows.tokens.shape == (count, row_tokens)
    stream, held = rows.tokens.ravel(), rows.domains.ravel() != PADDING_DOMAIN
    written = int(pieces.kept.sum())
    assert held.tolist() == [True] * written + [False] * (len(stream) - written)
    assert (stream[~held] == 9_999_999).all()
    documents = stream[held] // 1000
    order = documents[np.flatnonzero(np.diff(documents, prepend=-1))]
    assert sorted(order) == np.flatnonzero(pieces.kept).tolist()  # each once, in one piece
    expected = [1000 * i + np.arange(pieces.kept[i]) for i in order]
    assert stream[held].tolist() == np.concatenate([*expected, []]).tolist()
    assert (rows.domains.ravel()[held] == pieces.domains[documents]).all()
    begins = np.zeros(len(stream), bool)
    begins[np.flatnonzero(held & (stream % 1000 == 0))] = True
    begins[::row_tokens] = True
    assert rows.starts.ravel().tolist() == begins.tolist()
    assert rows.learn.ravel().tolist() == held.tolist()


@given(packed())
def test_accounts_balance_and_budgets_are_met(drawn):
    pieces, budgets, count, row_tokens = drawn
    account = pack.account(pieces, count * row_tokens)
    account.check(count * row_tokens, "test")
    assert np.bincount(pieces.domains, weights=pieces.kept, minlength=3).tolist() == budgets.tolist()
    for names, index in ((("a", "b", "c"), pieces.domains), (("s", "t", "u", "v"), pieces.sources)):
        assert sum(pack.tokens_by(names, index, pieces.kept).values()) == account.written
    # Documents are cut at their end only, and within a domain only one of them in part.
    partly = (pieces.kept > 0) & (pieces.kept < pieces.lengths)
    assert max(np.bincount(pieces.domains[partly], minlength=3)) <= 1


def test_a_used_up_budget_leaves_documents_out():
    kept = pack.cut(np.array([5, 5, 5, 4]), np.array([0, 0, 0, 1]), np.array([7, 9]))
    assert kept.tolist() == [5, 2, 0, 4]


def test_order_depends_on_seed_and_block():
    lengths = np.full(30, 3)
    pieces = pack.Pieces(
        np.arange(90), np.arange(0, 90, 3), lengths, lengths, np.zeros(30, np.uint8), np.zeros(30, int)
    )
    firsts = {
        next(pack.pack(pieces, 9, 10, seed=seed, block=block)).tokens.tobytes() for seed in (0, 1) for block in (0, 1)
    }
    assert len(firsts) == 4


def test_what_the_loss_counts_can_be_switched_off():
    lengths = np.full(3, 3)
    pieces = pack.Pieces(np.arange(9), np.arange(0, 9, 3), lengths, lengths, np.zeros(3, np.uint8), np.zeros(3, int))
    assert not joined(pieces, 3, 3, learn=False).learn.any()


def test_too_many_tokens_are_refused():
    lengths = np.full(3, 3)
    pieces = pack.Pieces(np.arange(9), np.arange(0, 9, 3), lengths, lengths, np.zeros(3, np.uint8), np.zeros(3, int))
    with pytest.raises(ValueError, match="9 tokens do not fit into 2 rows of 4"):
        next(pack.pack(pieces, 2, 4, seed=0, block=0))
