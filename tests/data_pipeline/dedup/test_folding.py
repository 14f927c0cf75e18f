import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.dedup import folding
from data_pipeline.operators.words import split_words
from data_pipeline.shingles import normal_words

texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\u3000中文，Ａaé가각가Σสวัสดี\u0301\ufb01½🙂𠀀\u3099か"),
    )
)


@given(texts)
def test_a_folded_text_is_its_normal_words(text):
    assert folding.fold(text) == " ".join(normal_words(text))


@pytest.mark.parametrize("char", ["中", "か", "Σ", "ﬁ", "ｶ\u3099", "\u0e33", "𠀀", "각", "\u1161"])
def test_characters_that_no_table_can_fold(char):
    for text in (char, f"a{char}", f"中{char}文", f"Σ{char} Σ", f" {char}\u0301 中"):
        assert folding.fold(text) == " ".join(normal_words(text))


@given(texts)
def test_words_are_counted(text):
    assert folding.count_words(folding.fold(text)) == len(normal_words(text))


@given(texts)
def test_unspaced_characters_are_counted(text):
    folded = folding.fold(text)
    # Between letters, a character that stands alone makes three words.
    expected = sum(len(split_words(f"a{char}a")) == 3 for char in folded if not char.isspace())
    assert folding.count_unspaced(folded) == expected


def test_digests_ignore_case_width_and_white_space_and_nothing_else():
    same, other = (folding.digest(folding.fold(text)) for text in ("ＡＢ c\n中文", "ab  C 中 文"))
    assert same == other
    assert len(same) == 16
    assert folding.digest(folding.fold("ab d 中文")) != same
