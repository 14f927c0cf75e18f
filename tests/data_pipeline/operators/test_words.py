import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.words import has_words, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two words\n", ("two", "words")),
        ("我爱Python语言", ("我", "爱", "Python", "语", "言")),
        ("好，很好", ("好", "，", "很", "好")),
        ("ภาษา", ("ภ", "า", "ษ", "า")),
        ("한국어 문장", ("한국어", "문장")),  # Korean writes spaces
        ("", ()),
    ],
)
def test_words(text, words):
    assert split_words(text) == words


@given(st.text())
def test_only_white_space_is_lost(text):
    assert "".join(split_words(text)) == "".join(text.split())


@given(st.text(st.one_of(st.sampled_from("ab床 \n"), st.characters())), st.integers(0, 6))
def test_having_words_is_counting_them(text, least):
    assert has_words(text, least) == (len(split_words(text)) >= least)
