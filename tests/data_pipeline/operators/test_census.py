import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators import census as census_lib
from data_pipeline.operators.census import (
    DIGIT,
    HAN_LETTER,
    LATIN_LETTER,
    LETTER,
    PLAIN,
    SPACE,
    census,
    hash_word,
    num_words,
)
from data_pipeline.operators.words import split_words

texts = st.text(st.one_of(st.sampled_from("ab. \n床前１é\U000e0041"), st.characters()))


@given(texts)
def test_words_are_those_of_split_words(text):
    counted = census(text)
    words = [text[start : counted.end(i)] for i, start in enumerate(counted.starts)]
    assert words == list(split_words(text))
    assert num_words(text) == counted.num_words == len(words)
    assert counted.lengths.tolist() == [len(word) for word in words]
    assert np.array_equal(counted.hashes, [hash_word(word) for word in words])
    assert len(set(counted.hashes.tolist())) == len(set(words))
    followed = [text[counted.end(i) : counted.end(i) + 1].isspace() for i in range(len(words))]
    assert counted.words_of(SPACE).tolist() == followed


@given(texts)
def test_kinds_are_those_of_python(text):
    counted = census(text)
    for kind, is_kind in ((LETTER, str.isalpha), (DIGIT, str.isdecimal), (SPACE, str.isspace)):
        assert counted.num_of(kind) == sum(map(is_kind, text))
    words = split_words(text)
    assert counted.words_of(LETTER).tolist() == [any(map(str.isalpha, word)) for word in words]


@given(texts)
def test_a_long_text_is_counted_in_pieces(text):
    whole = census(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census_lib, "_CHUNK", 3)
        pieces = census(text)
    assert pieces.num_characters == whole.num_characters
    for name in ("kinds", "starts", "lengths", "word_kinds", "hashes"):
        assert np.array_equal(getattr(pieces, name), getattr(whole, name)), name


def test_scripts():
    counted = census("Ünï 床前 かな Привет")
    assert (counted.num_of(LATIN_LETTER), counted.num_of(HAN_LETTER), counted.num_of(LETTER)) == (3, 2, 13)


def test_plain_words_hold_more_than_symbols():
    assert census("a-b -- “” 。 … • 1").words_of(PLAIN).tolist() == [True, False, False, False, False, True, True]


def test_hashes_do_not_depend_on_the_process():
    assert hash_word("the") == np.uint64(0xCEDDB1583C7BC609)
