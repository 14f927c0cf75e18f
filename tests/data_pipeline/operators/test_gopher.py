import pytest

from data_pipeline.operators.base import Draft
from data_pipeline.operators.gopher import AlphabeticWords, LineMarks, StopWords, SymbolRatio
from maxlm.errors import ConfigError
from tests.data_pipeline.operators.drafts import reason as reason_of


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 9 + "#word", None),  # one to ten words: the limit
        ("word " * 8 + "#word", "too_many_hash_signs"),
        ("word " * 9 + "word...", None),
        ("word " * 8 + "word…", "too_many_ellipses"),
        ("word " * 15 + "......", "too_many_ellipses"),  # two
        ("", None),
    ],
)
def test_symbols_to_words(text, reason):
    assert reason_of(SymbolRatio(), text) == reason


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["- item"] * 9 + ["line"], None),
        (["  • item"] * 10 + ["line"], "too_many_bullets"),
        (["* item"] * 10, None),  # not on the list
        (["- item", ""] * 10, None),  # blank lines are lines
        (["line"], None),
        ([], None),
    ],
)
def test_lines_that_begin_with_a_bullet(lines, reason):
    assert reason_of(LineMarks(), "\n".join(lines)) == reason


def test_the_list_of_bullets_can_be_longer():
    assert reason_of(LineMarks(bullets=("*", "→")), "* one\n→ two") == "too_many_bullets"


@pytest.mark.parametrize(("ends", "reason"), [(3, None), (4, "too_many_ellipsis_lines")])
@pytest.mark.parametrize("mark", ["...", "…", "... "])
def test_lines_that_end_in_an_ellipsis(ends, reason, mark):
    assert reason_of(LineMarks(), "\n".join([f"read more{mark}"] * ends + ["line"] * (10 - ends))) == reason


@pytest.mark.parametrize(("with_letter", "reason"), [(8, None), (7, "too_few_alphabetic_words")])
def test_words_with_a_letter(with_letter, reason):
    assert reason_of(AlphabeticWords(), " ".join(["1é"] * with_letter + ["12"] * (10 - with_letter))) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("It is the top of it", None),
        ("the the the", "too_few_stop_words"),  # two different ones are asked for
        ("the of, of.", "too_few_stop_words"),  # what a comma follows is another word
        ("cats sleep", "too_few_stop_words"),
        ("", "too_few_stop_words"),
    ],
)
def test_stop_words(text, reason):
    assert reason_of(StopWords(), text) == reason


def test_stop_words_of_chinese_are_characters():
    assert reason_of(StopWords(words=("的", "是")), "天是蓝的") is None
    assert reason_of(StopWords(words=("的", "是")), "天上蓝的") == "too_few_stop_words"
    with pytest.raises(ConfigError, match=r"stop_words.words: '我们' is not one word"):
        StopWords(words=("的", "我们"))


def test_findings_hold_the_figure():
    finding = AlphabeticWords().check(Draft("a 1 2 3"))
    assert finding is not None
    assert finding.value == 0.25
