import random

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.config import DedupConfig
from data_pipeline.dedup import signatures
from data_pipeline.dedup.bands import Bands
from data_pipeline.recipe import clean
from tests.data_pipeline.tables import documents

CONFIG = DedupConfig(num_perm=256, ngram=3)


def sets_of(words, ngram):
    return {tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)}


def changed(words, share, seed):
    """A copy with about `share` of its words replaced."""
    rng = random.Random(seed)
    return [f"new{i}" if rng.random() < share else word for i, word in enumerate(words)]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_signatures_estimate_jaccard_as_well_as_datasketch_does(share):
    words = [f"word{i}" for i in range(400)]
    other = changed(words, share, seed=1)
    a, b = sets_of(words, 3), sets_of(other, 3)
    true = len(a & b) / len(a | b)
    ours = signatures.minhash([" ".join(words), " ".join(other)], CONFIG)
    reference = []
    for shingles in (a, b):
        sketch = MinHash(num_perm=256)
        sketch.update_batch([" ".join(shingle).encode() for shingle in shingles])
        reference.append(sketch)
    tolerance = 4 * (true * (1 - true) / 256) ** 0.5 + 1e-9  # four standard deviations
    assert (ours[0] == ours[1]).mean() == pytest.approx(true, abs=tolerance)
    assert reference[0].jaccard(reference[1]) == pytest.approx(true, abs=tolerance)


words_lists = st.lists(st.sampled_from(["a", "b", "cc", "中"]), max_size=12)


@given(words_lists, words_lists)
def test_jaccard_is_that_of_the_sets(x, y):
    a, b = sets_of(x, 3), sets_of(y, 3)
    expected = len(a & b) / len(a | b) if a | b else 0
    assert signatures.jaccard(signatures.shingles(x, 3), signatures.shingles(y, 3)) == pytest.approx(expected)


def test_case_width_and_white_space_do_not_count():
    assert signatures.normal_words("Ｈello　 WORLD\n中文") == ("hello", "world", "中", "文")


def sign(*texts, config=CONFIG):
    table = documents(*texts)
    return signatures.sign(config, 2, table, clean([], table)).to_pylist()


def test_texts_shorter_than_a_shingle_have_a_digest_and_no_bucket():
    short, other, long = sign("two words", "other words", "just three words")
    assert short["buckets"] == other["buckets"] == []
    assert short["digest"] != other["digest"]
    assert len(long["buckets"]) > 1
    assert signatures.place(long["ordinal"]) == (2, 2)


def test_chinese_is_cut_by_the_character():
    text = "春江潮水连海平，海上明月共潮生。滟滟随波千万里，何处春江无月明！"
    row, same, other = sign(text, text.replace("，", "， "), "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。")
    assert row["buckets"] == same["buckets"]
    assert not set(row["buckets"]) & set(other["buckets"])


def test_keys_of_different_bands_do_not_meet():
    same = np.full((1, 6), 7, np.uint32)
    assert len(set(signatures.bucket_keys(same, Bands(3, 2))[0].tolist())) == 3


def test_a_band_agrees_only_if_all_its_rows_do():
    pair = np.array([[1, 2, 3, 4], [1, 2, 3, 5]], np.uint32)
    keys = signatures.bucket_keys(pair, Bands(2, 2))
    assert (keys[0] == keys[1]).tolist() == [True, False]


def test_seed_changes_the_signature():
    texts = ["one two three four"]
    a, b = (signatures.minhash(texts, DedupConfig(seed=seed)) for seed in (1, 2))
    assert (a != b).any()
