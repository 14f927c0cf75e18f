"""Random numbers and logarithms that are the same everywhere."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.mix.hashing import hashes, log, shuffled


def test_hashes_never_change():
    """Blocks of a data set must come out the same with later versions: these numbers are part of the format."""
    assert hashes(np.arange(3), 7, 0, "select").tolist() == [
        887569940239999050,
        13341786368332451138,
        16104183039317246773,
    ]
    assert shuffled(8, 7, 0, "pack").tolist() == [4, 6, 7, 1, 3, 2, 5, 0]


@given(st.lists(st.floats(1e-300, 1e300), min_size=1))
def test_log_is_the_logarithm(values):
    numbers = np.array(values)
    np.testing.assert_allclose(log(numbers), np.log(numbers), rtol=1e-11, atol=1e-11)


def test_log_keeps_its_precision_near_one():
    near = 1 - np.array([1e-15, 1e-12, 1e-9, 1e-6])
    np.testing.assert_allclose(log(near), np.log(near), rtol=1e-11)
