"""Batches of few shapes: everything once, nothing cut, nothing mixed up."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.score import buckets

SIZES = st.lists(st.integers(2, 100), max_size=60)


def _sequences(sizes):
    return [[1000 * i + j for j in range(size)] for i, size in enumerate(sizes)]


def _unpadded(batch):
    return [tokens[mask].tolist() for tokens, mask in zip(batch.tokens_BS, batch.mask_BS, strict=True)]


@given(SIZES, st.sampled_from([1, 2, 8]), st.integers(100, 3000))
def test_batches(sizes, multiple, batch_tokens):
    sequences, seen = _sequences(sizes), []
    for batch in buckets.batches(sequences, 100, batch_tokens, multiple, pad_id=-7):
        count, length = batch.tokens_BS.shape
        assert length in (32, 64, 100)
        assert count % multiple == 0
        assert count == multiple or count * length <= batch_tokens
        assert len(batch.rows) <= count < max(2 * len(batch.rows), multiple + 1)
        assert (batch.tokens_BS[~batch.mask_BS] == -7).all()
        assert length == 32 or max(sizes[row] for row in batch.rows) > length // 2 - 14
        assert _unpadded(batch)[: len(batch.rows)] == [sequences[row] for row in batch.rows]
        assert not batch.mask_BS[len(batch.rows) :].any()
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(len(sizes)))


@given(SIZES.filter(len), st.integers(1, 9), st.integers(0, 3))
def test_epoch(sizes, batch, seed):
    sequences = _sequences(sizes)
    made = list(buckets.epoch(sequences, 100, batch, 0, seed))
    assert sorted(row for part in made for row in part.rows) == list(range(len(sizes)))
    assert all(part.tokens_BS.shape[0] == batch for part in made)
    assert [_unpadded(part)[: len(part.rows)] for part in made] == [[sequences[i] for i in part.rows] for part in made]
    again = buckets.epoch(sequences, 100, batch, 0, seed)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(made, again, strict=True))


def test_epochs_differ_and_keep_lengths_together():
    sequences = _sequences([5, 90] * 200)
    first, second = (list(buckets.epoch(sequences, 100, 10, 0, seed)) for seed in (0, 1))
    assert first[0].rows.tolist() != second[0].rows.tolist()
    widths = [part.tokens_BS.shape[1] for part in first]
    assert widths.count(32) == 20  # half of the batches are short, as half of the texts are
    assert widths != sorted(widths)


@given(st.integers(0, 300), st.integers(3, 50), st.integers(1, 6))
def test_windows(size, max_tokens, count):
    ids, room = list(range(size)), max_tokens - 2
    made = buckets.windows(ids, max_tokens, count, (-1, -2))
    assert 1 <= len(made) <= count
    assert all(window[0] == -1 and window[-1] == -2 and len(window) <= max_tokens for window in made)
    inner = [window[1:-1] for window in made]
    assert inner[0] == ids[:room]  # the head first
    for window in inner:  # each a run of the text, and none said twice
        assert window == ids[window[0] : window[0] + len(window)] if window else not ids
    flat = [i for window in inner for i in window]
    assert len(flat) == len(set(flat))
    assert flat == ids if size <= room * count else len(flat) == room * count
    if count > 1 and size > room * count:
        assert flat[-1] >= size - count  # reaches the end, but for rounding


def test_lengths():
    assert buckets.lengths_up_to(512) == (32, 64, 128, 256, 512)
    assert buckets.lengths_up_to(100) == (32, 64, 100)
    assert buckets.lengths_up_to(20) == (20,)
