import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.dedup import folding
from data_pipeline.operators.words import split_words
from data_pipeline.shingles import normal_words

texts = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(" \n\u3000\x85\u2028\x1c中文，Ａaéа각가각Σสวัสดี\u0301\ufb01½🙂𠀀\ufa6c\u3099か"),
    )
)


def fold(*texts):
    return folding.fold(texts).texts.to_pylist()


def expected(text):
    return " ".join(normal_words(text))


@given(st.lists(texts, max_size=6))
def test_folded_texts_are_their_normal_words_whatever_stands_beside_them(texts):
    folded = folding.fold(texts)
    assert folded.texts.to_pylist() == [expected(text) for text in texts]
    assert folded.words.tolist() == [len(normal_words(text)) for text in texts]


@pytest.mark.parametrize("char", ["中", "か", "Σ", "ﬁ", "ｶ\u3099", "\u0e33", "𠀀", "각", "\u1161", "\u1680", "\x85"])
def test_characters_that_no_table_can_fold(char):
    texts = [char, f"a{char}", f"中{char}文", f"Σ{char} Σ", f" {char}\u0301 中", f"é {char}\u2028é"]
    assert fold(*texts) == [expected(text) for text in texts]


def test_every_character_folds_as_its_normal_word():
    chars = [chr(point) for point in (*range(0xD800), *range(0xE000, 0x21000))]
    texts = ["é a".join(chars[i : i + 50]) for i in range(0, len(chars), 50)]
    assert fold(*texts) == [expected(text) for text in texts]
    spaced = [text for char in chars if len(split_words(text := f"é{char}é")) == 1]
    assert fold(*spaced) == [expected(text) for text in spaced]


def test_blocks_of_texts_without_spaces_are_folded_one_after_the_other(monkeypatch):
    texts = ["中文 ab", "é", "", "ａ中", " \n", "中\u0301", "字"]
    monkeypatch.setattr(folding, "_BLOCK_CHARACTERS", 3)
    assert fold(*texts) == [expected(text) for text in texts]


@given(texts)
def test_unspaced_characters_are_counted(text):
    # Between letters, a character that stands alone makes three words.
    alone = sum(len(split_words(f"a{char}a")) == 3 for char in expected(text) if not char.isspace())
    assert folding.fold(["a 中", text]).unspaced.tolist() == [1, alone]


def test_digests_ignore_case_width_and_white_space_and_nothing_else():
    folded = folding.fold(["ＡＢ c\n中文", "ab  C 中 文", "ab d 中文"]).texts
    same, other, different = folding.digests(folded)
    assert same == other != different
    assert len(same) == 16
    assert folding.digests(folded[1:]) == [other, different]
