"""Hashed n-grams against a counter that goes word by word."""

import math
import re
import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from data_pipeline.score.features import Features, Known

# Buckets of "a fast model, 快速模型". Models that are trained already look there.
HASHES = [74732, 105619, 201886, 218313, 260285, 317358, 386812, 423616, 438396,
          506745, 522530, 608111, 785520, 859661, 903815, 954588, 970050]  # fmt: skip

_UNIT = re.compile(r"[一-龥]|[a-z0-9_éß]+|[^\sa-z0-9_éß一-龥]")


def _ngrams(text: str) -> Counter:
    """By definition: pairs of units, and of Chinese characters also triples."""
    units = _UNIT.findall(unicodedata.normalize("NFKC", text).lower())
    han = [bool(re.match("[一-龥]", unit)) for unit in units]
    found = Counter((unit,) for unit in units)
    found.update(pairwise(units))
    triples = zip(units, units[1:], units[2:], strict=False)
    found.update(run for i, run in enumerate(triples) if all(han[i : i + 3]))
    return found


def _profile(counts: np.ndarray) -> list[int]:
    return sorted(int(count) for count in counts)


# Few enough n-grams that no two of them meet in one bucket of 2**30.
TEXT = st.text(alphabet="ab1_é 中文字，,.ＡＢ\n", max_size=30)


@given(st.lists(TEXT, max_size=5))
def test_counts_are_those_of_the_definition(texts):
    found = Features(buckets=2**30).counts(texts)
    assert found.shape == (len(texts), 2**30)
    for i, text in enumerate(texts):
        assert _profile(found.data[found.indptr[i] : found.indptr[i + 1]]) == sorted(_ngrams(text).values())


@given(st.lists(TEXT, min_size=2, max_size=6))
def test_a_text_counts_the_same_in_any_company(texts):
    shape = Features(buckets=2**12)
    together = shape.counts(texts).toarray()
    alone = np.concatenate([shape.counts([text]).toarray() for text in texts])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("one", "other"), [("The CAT", "the  cat"), ("ＡＢＣ１", "abc1"), ("中，文", "中,文"), ("a\0b", "a b"), ("½", "½ ")]
)
def test_what_counts_as_the_same(one, other):
    a, b = Features().counts([one, other]).toarray()
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("one", "other"), [("ab", "a b"), ("a b", "b a"), ("a", "a."), ("中文", "文中"), ("𠀀", "𠀁")])
def test_what_counts_as_different(one, other):
    a, b = Features().counts([one, other]).toarray()
    assert (a != b).any()


def test_long_texts_are_cut_and_odd_characters_are_no_matter():
    shape = Features(max_chars=4)
    a, b = shape.counts(["a b c d", "a b then something else"]).toarray()
    np.testing.assert_array_equal(a, b)
    assert Features().counts(["", "\ud800", "\x00", "🙂🙂"]).sum(axis=1).tolist() == [0, 0, 0, 3]


def test_batches_join_at_their_seams():
    texts = [f"word{i % 7} " * 3000 for i in range(60)]  # several batches
    shape = Features(max_chars=10**6)
    found = shape.counts(texts)
    for i in (0, 13, 59):
        np.testing.assert_array_equal(found[[i]].toarray(), shape.counts([texts[i]]).toarray())


def test_hashes_stay_as_models_in_the_world_have_them():
    found = Features().counts(["a fast model, 快速模型"])
    assert found.indices.tolist() == HASHES


def test_weights_are_tf_idf_of_known_ngrams():
    counts = sparse.csr_array(np.array([[2.0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    known = Known.of(counts)
    assert known.columns.tolist() == [0, 1, 2]
    idf = [1 + math.log(4 / 3), 1 + math.log(4 / 2), 1 + math.log(4 / 2)]
    np.testing.assert_allclose(known.rarities, idf, rtol=1e-6)
    raw = np.array([[(1 + math.log(2)) * idf[0], 0, idf[2]], [idf[0], idf[1], 0]])
    expected = np.vstack([raw / np.linalg.norm(raw, axis=1, keepdims=True), np.zeros(3)])
    np.testing.assert_allclose(known.rows(counts).toarray(), expected, rtol=1e-6)


def test_what_training_never_saw_changes_no_weight():
    shape = Features()
    known = Known.of(shape.counts(["good words", "bad words"]))
    places = known.places(shape.buckets)
    plain, strange = (shape.counts([text], places, len(known.columns)) for text in ("good", "good unheard-of things"))
    np.testing.assert_array_equal(known.weighed(plain).toarray(), known.weighed(strange).toarray())
    assert known.weighed(plain).toarray().max() == 1
