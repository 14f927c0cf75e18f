import random

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.config import DedupConfig
from data_pipeline.dedup import signatures
from tests.data_pipeline.tables import documents

CONFIG = DedupConfig(num_perm=256, ngram=3)


def minhash(texts, config=CONFIG):
    return signatures.minhash(pa.array(texts, pa.large_string()), config)


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
    ours = minhash([" ".join(words), " ".join(other)])
    reference = []
    for shingles in (a, b):
        sketch = MinHash(num_perm=256)
        sketch.update_batch([" ".join(shingle).encode() for shingle in shingles])
        reference.append(sketch)
    tolerance = 4 * (true * (1 - true) / 256) ** 0.5 + 1e-9  # four standard deviations
    assert (ours[0] == ours[1]).mean() == pytest.approx(true, abs=tolerance)
    assert reference[0].jaccard(reference[1]) == pytest.approx(true, abs=tolerance)


def sign(*texts, config=CONFIG):
    table = signatures.sign(config, documents(*[text or "dropped" for text in texts]), list(texts))
    values, present = signatures.unpacked(table["signature"], config.num_perm)
    return table, values, present


def test_texts_shorter_than_a_shingle_have_a_digest_and_no_signature():
    table, values, present = sign("two words", "other words", "just three words")
    assert present.tolist() == [False, False, True]
    assert values.shape == (1, CONFIG.num_perm)
    assert len(set(table["digest"].to_pylist())) == 3


def test_documents_that_were_dropped_take_no_part():
    table, _, present = sign("this one stays", None, "and this one too")
    assert table["ordinal"].to_pylist() == [0, 2]
    assert table["characters"].to_pylist() == [14, 16]
    assert present.tolist() == [True, True]


def test_chinese_is_cut_by_the_character():
    text = "春江潮水连海平，海上明月共潮生。滟滟随波千万里，何处春江无月明！"
    _, values, present = sign(text, text.replace("，", "， "), "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。")
    assert present.all()
    assert (values[0] == values[1]).all()
    assert (values[0] == values[2]).mean() < 0.1


def test_long_texts_are_hashed_in_pieces_to_the_same_signature(monkeypatch):
    texts = [" ".join(f"word{i * k % 997}" for i in range(400)) for k in (1, 2)] + ["a short text"]
    whole = minhash(texts)
    monkeypatch.setattr(signatures, "_CHUNK_WORDS", 37)
    np.testing.assert_array_equal(minhash(texts), whole)


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 5))
def test_signatures_come_back_as_they_were_packed(present, chunks):
    present = np.array(present, bool)
    values = np.random.default_rng(0).integers(0, 2**32, (present.sum(), 16), dtype=np.uint32)
    column = signatures.packed(values, present)
    pieces = [column[i : i + chunks] for i in range(0, len(column), chunks)]
    unpacked, found = signatures.unpacked(pa.chunked_array(pieces, pa.binary()), 16)
    np.testing.assert_array_equal(unpacked, values)
    np.testing.assert_array_equal(found, present)


def test_seed_changes_the_signature():
    texts = ["one two three four"]
    a, b = (minhash(texts, DedupConfig(seed=seed)) for seed in (1, 2))
    assert (a != b).any()
