import numpy as np
import pyarrow as pa
import pytest

from data_pipeline import engine
from data_pipeline.dedup.bands import Bands, choose_bands, documents_sharing
from data_pipeline.dedup.signatures import SIGNATURE


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95])
def test_pairs_at_the_threshold_are_nearly_all_found_and_unlike_ones_hardly(threshold):
    bands = choose_bands(threshold, 128)
    assert bands.count * bands.rows <= 128
    assert bands.probability(min(1.0, threshold + 0.05)) > 0.9
    assert bands.probability(threshold / 3) < 0.1


def test_probability_is_that_of_the_bands():
    rng = np.random.default_rng(0)
    bands = Bands(count=4, rows=2)
    equal = rng.random((20_000, 4, 2)) < 0.5  # places in which two signatures of similarity 0.5 agree
    assert equal.all(axis=2).any(axis=1).mean() == pytest.approx(bands.probability(0.5), abs=0.02)


def test_documents_sharing_a_value_are_grouped_whatever_their_order(tmp_path):
    rows = [(1, "a", [1, 2]), (5, "b", [2, 3]), (3, "a", [3]), (4, None, []), (2, None, [9])]
    tables = [pa.table(list(zip(*part, strict=True)), schema=SIGNATURE) for part in (rows[:2], rows[2:])]
    for name, table in zip(engine.partition_names(2), tables, strict=True):
        engine.write_partition(tmp_path / name, table)
    assert documents_sharing("digest", tmp_path, "native") == [[1, 3]]
    assert documents_sharing("buckets", tmp_path, "native") == [[1, 5], [3, 5]]
