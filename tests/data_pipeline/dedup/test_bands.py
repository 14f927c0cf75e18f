import numpy as np
import pytest
from datasketch import MinHashLSH

from data_pipeline.config import DedupConfig
from data_pipeline.dedup.bands import Bands, bands_of, bucket_keys, choose_bands


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.95])
def test_pairs_at_the_threshold_are_nearly_all_found_and_unlike_ones_hardly(threshold):
    bands = choose_bands(threshold, 128)
    assert bands.count * bands.rows <= 128
    assert bands.probability(min(1.0, threshold + 0.05)) > 0.9
    assert bands.probability(threshold / 3) < 0.1


@pytest.mark.parametrize("num_perm", [16, 64, 128, 256])
def test_a_threshold_of_one_has_bands_too(num_perm):
    bands = choose_bands(1.0, num_perm)
    assert bands.count >= 2
    assert bands.count * bands.rows <= num_perm


@pytest.mark.parametrize(("threshold", "num_perm"), [(0.5, 128), (0.7, 128), (0.7, 64), (0.85, 128), (0.6, 256)])
def test_bands_are_those_of_datasketch(threshold, num_perm):
    lsh = MinHashLSH(threshold=threshold, num_perm=num_perm, weights=(0.1, 0.9))
    assert choose_bands(threshold, num_perm) == Bands(lsh.b, lsh.r)


def test_probability_is_that_of_the_bands():
    rng = np.random.default_rng(0)
    bands = Bands(count=4, rows=2)
    equal = rng.random((20_000, 4, 2)) < 0.5  # places in which two signatures of similarity 0.5 agree
    assert equal.all(axis=2).any(axis=1).mean() == pytest.approx(bands.probability(0.5), abs=0.02)


def test_keys_of_different_bands_do_not_meet():
    same = np.full((1, 6), 7, np.uint32)
    assert len(set(bucket_keys(same, Bands(3, 2))[0].tolist())) == 3


def test_a_band_agrees_only_if_all_its_rows_do():
    pair = np.array([[1, 2, 3, 4], [1, 2, 3, 5]], np.uint32)
    keys = bucket_keys(pair, Bands(2, 2))
    assert (keys[0] == keys[1]).tolist() == [True, False]


def test_bands_serve_the_lowest_threshold_that_is_named():
    lowest = choose_bands(0.6, 128)
    assert bands_of(DedupConfig(threshold=0.6)) == lowest
    assert bands_of(DedupConfig(threshold=0.8, thresholds={"zh": 0.9, "en": 0.6})) == lowest
    assert bands_of(DedupConfig(threshold=0.8, lowest=0.6)) == lowest
    assert bands_of(DedupConfig(threshold=0.8, lowest=0.9)) == choose_bands(0.8, 128) != lowest
