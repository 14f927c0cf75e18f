"""Rows go into records and come back, and become batches that restart at each document."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.blocks.format import PADDING_DOMAIN, RowFormat, Rows, padding_rows, to_batch
from maxlm.errors import DataError


@st.composite
def formats_and_rows(draw):
    row_format = RowFormat(draw(st.integers(2, 40)), draw(st.sampled_from([128, 65_536, 65_537, 200_064])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(0, 5)), row_format.row_tokens)
    starts = rng.random(shape) < draw(st.floats(0, 1))
    starts[:, :1] = True
    domains = rng.integers(0, 4, shape).astype(np.uint8)
    domains[rng.random(shape) < 0.1] = PADDING_DOMAIN
    return row_format, Rows(rng.integers(0, row_format.vocab_size, shape), starts, rng.random(shape) < 0.5, domains)


@given(formats_and_rows())
def test_rows_survive_encoding(drawn):
    row_format, rows = drawn
    encoded = row_format.encode(rows)
    assert encoded.shape == (len(rows.tokens), row_format.row_bytes)
    decoded = row_format.decode([record.tobytes() for record in encoded])
    for before, after in zip(rows, decoded, strict=True):
        np.testing.assert_array_equal(before, after)


@given(formats_and_rows())
def test_batches_say_what_a_walk_over_the_row_says(drawn):
    _, rows = drawn
    batch = to_batch(rows)
    for row in range(len(rows.tokens)):
        segment, position = 0, 0
        for t in range(rows.tokens.shape[1]):
            if rows.starts[row, t]:
                segment, position = segment + 1, 0
            padded = rows.domains[row, t] == PADDING_DOMAIN
            if t < batch.inputs.shape[1]:
                assert batch.inputs[row, t] == rows.tokens[row, t]
                assert batch.segments[row, t] == (0 if padded else segment)
                assert batch.positions[row, t] == position
            if t > 0:
                assert batch.targets[row, t - 1] == rows.tokens[row, t]
                assert batch.weights[row, t - 1] == (rows.learn[row, t] and not rows.starts[row, t] and not padded)
            position += 1


def test_width_of_a_row_is_what_the_docstring_says():
    assert RowFormat(2047, 65_536).row_bytes == 2048 * 2 + 256 + 256 + 2048
    assert RowFormat(2047, 65_537).row_bytes == 2048 * 4 + 256 + 256 + 2048


def test_records_of_another_width_are_refused():
    records = [record.tobytes() for record in RowFormat(8, 128).encode(padding_rows(2, 9))]
    with pytest.raises(DataError, match="belongs to another data set or is damaged"):
        RowFormat(16, 128).decode(records)


@pytest.mark.parametrize("token", [-1, 128, 70_000])
def test_token_ids_outside_the_vocabulary_are_refused(token):
    rows = padding_rows(1, 9)
    rows.tokens[0, 3] = token
    with pytest.raises(DataError, match="vocabulary of 128"):
        RowFormat(8, 128).encode(rows)


def test_padding_counts_in_no_loss():
    batch = to_batch(padding_rows(3, 9))
    assert batch.weights.sum() == 0
    assert batch.segments.max() == 0
