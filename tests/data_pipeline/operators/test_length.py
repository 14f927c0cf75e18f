import pytest

from data_pipeline.operators.length import Length, LineLength, WordLength
from tests.data_pipeline.operators.drafts import reason as reason_of


@pytest.mark.parametrize(
    ("words", "reason"),
    [(49, "too_few_words"), (50, None), (100_000, None), (100_001, "too_many_words")],
)
def test_gophers_limits_on_words_include_their_ends(words, reason):
    assert reason_of(Length(), "word " * words) == reason


def test_symbols_by_themselves_are_no_words():
    assert reason_of(Length(min_words=2), "one - * …") == "too_few_words"
    assert reason_of(Length(min_words=2), "one - -2") is None


def test_chinese_counts_by_the_character():
    assert reason_of(Length(min_words=10), "我们今天去公园散步吧") is None
    assert reason_of(Length(min_words=10), "我们今天去公园散步") == "too_few_words"


@pytest.mark.parametrize(("text", "reason"), [("abc", "too_few_characters"), ("abcd", None), ("abcdef", None)])
def test_fewest_characters(text, reason):
    assert reason_of(Length(min_words=0, max_words=0, min_chars=4), text) == reason


def test_most_characters():
    assert reason_of(Length(min_words=0, max_words=0, max_chars=4), "abcd") is None
    assert reason_of(Length(min_words=0, max_words=0, max_chars=4), "abcde") == "too_many_characters"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("abc abc", None),  # mean 3, Gopher's least
        ("ab abc", "words_too_short"),
        ("abcdefghij abcdefghij", None),  # mean 10, its most
        ("abcdefghij abcdefghijk", "words_too_long"),
        ("ab * abc", "words_too_short"),  # 2.5: a symbol is no word
        ("…", None),
        ("", None),
    ],
)
def test_mean_word_length(text, reason):
    assert reason_of(WordLength(), text) == reason


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["x" * 100, "y" * 100], None),
        (["x" * 101, "y" * 100], "lines_too_long"),
        (["x" * 1000] + [""] * 20, None),
        (["x" * 1001] + [""] * 20, "line_too_long"),
    ],
)
def test_codexs_limits_on_lines(lines, reason):
    assert reason_of(LineLength(), "\n".join(lines)) == reason
