import pytest

from data_pipeline.operators.base import Draft, Finding
from data_pipeline.operators.fineweb import FineWeb
from tests.data_pipeline.operators.drafts import reason as reason_of

LINE = "This line is longer than thirty characters"


def numbered(count, end):
    return [f"{LINE} {i:03d}{end}" for i in range(count)]


@pytest.mark.parametrize(("punctuated", "reason"), [(12, None), (11, "too_few_punctuated_lines")])
@pytest.mark.parametrize("mark", [".", "?", "！", "।"])
def test_lines_that_end_in_punctuation(punctuated, reason, mark):
    lines = numbered(punctuated, mark) + numbered(100 - punctuated, " ")
    assert reason_of(FineWeb(), "\n\n".join(lines)) == reason


@pytest.mark.parametrize(("short", "reason"), [(67, None), (68, "too_many_short_lines")])
def test_short_lines(short, reason):
    lines = [f"{i:029d}." for i in range(short)] + numbered(100 - short, ".")
    assert reason_of(FineWeb(max_line_ends=1), "\n".join(lines)) == reason


@pytest.mark.parametrize(("others", "reason"), [(99, None), (98, "duplicate_line_characters")])
def test_characters_in_repeated_lines(others, reason):
    lines = [f"{LINE}  -1.", *numbered(others, "."), f"{LINE}  -1."]
    assert len(set(map(len, lines))) == 1
    assert reason_of(FineWeb(max_duplicate_line_chars=1 / 101), "\n".join(lines)) == reason


@pytest.mark.parametrize(("line_ends", "reason"), [(3, None), (4, "too_many_line_ends")])
def test_line_ends_to_a_word(line_ends, reason):
    text = "one two three four five six seven eight." + "\n" * line_ends + "Nine ten eleven twelve."
    assert reason_of(FineWeb(max_line_ends=0.25), text) == reason


def test_nothing_but_white_space_is_empty():
    assert reason_of(FineWeb(), " \n\t\n") == "empty"


def test_the_repeated_line_is_shown():
    text = f"{LINE}.\nother words.\n{LINE}."
    assert FineWeb().check(Draft(text)) == Finding("duplicate_line_characters", 43 / 98, 57, 100)
