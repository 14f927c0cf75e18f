"""Looking up what is known finds what was put there, and only that."""

import numpy as np
import pytest

from data_pipeline.produce.known import Known


def test_columns_are_found_by_ordinal():
    known = Known(2)
    assert known.find(np.empty(0, np.int64)).shape == (2, 0)
    with pytest.raises(KeyError, match="5"):
        known.find(np.array([5]))
    known.add(np.array([4, 9]), np.array([40, 90]), np.array([1, 2]))
    known.add(np.array([1, 7]), np.array([10, 70]), np.array([3, 4]))
    assert known.find(np.array([7, 1, 9, 7])).tolist() == [[70, 10, 90, 70], [4, 3, 2, 4]]
    assert known.missing(np.array([9, 3, 12, 3, 1])).tolist() == [3, 12]
    for unknown in (0, 5, 12):
        with pytest.raises(KeyError, match=str(unknown)):
            known.find(np.array([4, unknown]))
