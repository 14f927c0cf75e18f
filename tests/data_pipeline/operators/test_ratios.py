import pytest

from data_pipeline.operators.ratios import AlphabeticWords, CharacterShares, LineMarks, StopWords, SymbolRatio
from tests.data_pipeline.operators.drafts import reason as reason_of


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 9 + "#word", None),  # one to ten words: the limit
        ("word " * 8 + "#word", "too_many_hash_signs"),
        ("word " * 9 + "word...", None),
        ("word " * 8 + "word…", "too_many_ellipses"),
        ("", None),
    ],
)
def test_symbols_to_words(text, reason):
    assert reason_of(SymbolRatio(), text) == reason


@pytest.mark.parametrize(("bullets", "others", "reason"), [(9, 1, None), (10, 1, "too_many_bullets"), (0, 1, None)])
def test_lines_that_begin_with_a_bullet(bullets, others, reason):
    assert reason_of(LineMarks(), "\n".join(["- item"] * bullets + ["line"] * others)) == reason


@pytest.mark.parametrize(("ends", "reason"), [(3, None), (4, "too_many_ellipsis_lines")])
def test_lines_that_end_in_an_ellipsis(ends, reason):
    assert reason_of(LineMarks(), "\n".join(["read more..."] * ends + ["line"] * (10 - ends))) == reason


@pytest.mark.parametrize(("with_letter", "reason"), [(8, None), (7, "too_few_alphabetic_words")])
def test_words_with_a_letter(with_letter, reason):
    assert reason_of(AlphabeticWords(), " ".join(["a1"] * with_letter + ["12"] * (10 - with_letter))) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The cat sat on top of it", None),  # "the" and "of", in any case
        ("the the the", "too_few_stop_words"),  # two different ones are asked for
        ("cats sleep", "too_few_stop_words"),
    ],
)
def test_stop_words(text, reason):
    assert reason_of(StopWords(), text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("aab1 .", None),
        ("ab11 .", "too_few_letters"),  # 2 of 5
        ("aaab 111", "too_many_digits"),  # 3 of 7
        ("aaab ...", "too_many_marks"),
        ("  ", None),
    ],
)
def test_shares_of_characters_other_than_white_space(text, reason):
    operator = CharacterShares(min_letters=0.5, max_digits=0.4, max_marks=0.4)
    assert reason_of(operator, text) == reason


def test_han_characters_are_letters():
    assert reason_of(CharacterShares(min_letters=0.9), "春眠不觉晓") is None
