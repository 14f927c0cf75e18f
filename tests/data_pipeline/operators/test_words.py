import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.words import split_words


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
