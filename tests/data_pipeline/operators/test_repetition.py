import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.base import Draft
from data_pipeline.operators.census import census
from data_pipeline.operators.repetition import CharacterRepetition, Repetition, Runs, duplicates
from maxlm.errors import ConfigError
from tests.data_pipeline.operators.drafts import reason as reason_of

# No limit but the one under test.
_OFF = {
    "max_duplicate_lines": 1.0,
    "max_duplicate_line_chars": 1.0,
    "max_duplicate_paragraphs": 1.0,
    "max_duplicate_paragraph_chars": 1.0,
    "max_top": {},
    "max_duplicate": {},
}


def only(**limits):
    return Repetition(**{**_OFF, **limits})


def numbered(count, prefix="w"):
    return [f"{prefix}{i:04d}" for i in range(count)]


@pytest.mark.parametrize(("repeats", "reason"), [(3, None), (4, "duplicate_lines")])
def test_duplicate_lines(repeats, reason):
    lines = ["same"] * (repeats + 1) + numbered(9 - repeats)
    assert reason_of(only(max_duplicate_lines=0.30), "\n".join(lines)) == reason


@pytest.mark.parametrize(("length", "reason"), [(20, None), (21, "duplicate_line_characters")])
def test_characters_in_duplicate_lines(length, reason):
    lines = ["x" * length, "x" * length, "y" * (98 - 2 * length)]  # and two line ends
    assert reason_of(only(max_duplicate_line_chars=0.20), "\n".join(lines)) == reason


@pytest.mark.parametrize(("repeats", "reason"), [(3, None), (4, "duplicate_paragraphs")])
def test_duplicate_paragraphs(repeats, reason):
    paragraphs = ["two\nlines"] * (repeats + 1) + numbered(9 - repeats)
    assert reason_of(only(max_duplicate_paragraphs=0.30), "\n\n".join(paragraphs)) == reason


@pytest.mark.parametrize(("length", "reason"), [(20, None), (21, "duplicate_paragraph_characters")])
def test_characters_in_duplicate_paragraphs(length, reason):
    paragraphs = ["x" * length, "x" * length, "y" * (95 - 2 * length)]
    assert reason_of(only(max_duplicate_paragraph_chars=0.20), "\n\n".join(paragraphs) + " ") == reason


@pytest.mark.parametrize(("n", "limit"), [("2", 0.20), ("3", 0.18), ("4", 0.16)])
def test_commonest_run_on_both_sides_of_gophers_limit(n, limit):
    run = " ".join(numbered(int(n), "r"))
    fits = int(2 * len(run) / limit)
    for total, reason in ((fits + 1, None), (fits - 1, f"top_{n}_gram")):
        text = f"{run} b {run} "
        text += "x" * (total - len(text))
        assert reason_of(only(max_top={n: limit}), text) == reason


@pytest.mark.parametrize(
    ("n", "limit"), [("5", 0.15), ("6", 0.14), ("7", 0.13), ("8", 0.12), ("9", 0.11), ("10", 0.10)]
)
def test_duplicate_runs_on_both_sides_of_gophers_limit(n, limit):
    run = " ".join(numbered(int(n), "r"))
    fits = int(5 * int(n) / limit)  # words of five characters, of which only those of the second run count
    for total, reason in ((fits + 1, None), (fits - 1, f"duplicate_{n}_gram")):
        text = f"{run} b {run} "
        text += "x" * (total - len(text))
        assert reason_of(only(max_duplicate={n: limit}), text) == reason


def test_defaults_are_gophers_table_a1():
    assert Repetition().max_top == {"2": 0.20, "3": 0.18, "4": 0.16}
    assert Repetition().max_duplicate == {"5": 0.15, "6": 0.14, "7": 0.13, "8": 0.12, "9": 0.11, "10": 0.10}


def test_a_run_that_occurs_once_is_no_repetition():
    assert reason_of(Repetition(), "a short one") is None


def test_chinese_repeats_by_the_character():
    text = "床前明月光疑是地上霜。" * 4
    assert reason_of(only(max_duplicate={"5": 0.15}), text) == "duplicate_5_gram"
    assert Repetition(max_top={"2": 0.1}).check(Draft("甲乙" * 2 + "丙" + "丁戊己庚辛" * 7)) is not None


def test_a_shared_line_in_other_text_passes_the_defaults():
    assert reason_of(Repetition(), "\n".join(["header", *numbered(200), "header"])) is None


@pytest.mark.parametrize(
    ("operator", "text", "value", "passage"),
    [
        (only(max_duplicate_lines=0.3), "one\ntwo\none", 1 / 3, (8, 11)),
        (only(max_duplicate_paragraphs=0.3), "one\n\ntwo\n\none", 1 / 3, (10, 13)),
        (only(max_top={"2": 0.3}), "x  a b a b", 6 / 10, (3, 6)),
        (only(max_duplicate={"2": 0.1}), "x  a b a b", 2 / 10, (7, 10)),
    ],
)
def test_findings_hold_the_share_and_where_it_repeats(operator, text, value, passage):
    finding = operator.check(Draft(text))
    assert (finding.value, (finding.start, finding.end)) == (value, passage)


def test_lengths_of_runs_are_numbers():
    with pytest.raises(ConfigError, match=r"repetition.max_top: lengths are whole numbers of words, found 'two'"):
        Repetition(max_top={"two": 0.2})


texts = st.lists(st.sampled_from(["a", "bb", "ccc", "床", "前"]), max_size=30).map(" ".join)


@given(texts, st.integers(1, 6))
def test_repeated_runs_equal_the_naive_count(text, n):
    words = text.split()
    seen, expected, i = set(), 0, 0
    while i + n <= len(words):
        run = tuple(words[i : i + n])
        expected += len("".join(run)) if run in seen else 0
        i += n if run in seen else 1
        seen.add(run)
    runs = Runs(census(text))
    assert runs.repeated(n)[0] == expected
    assert runs.covered(n) >= expected


@given(texts, st.integers(1, 6))
def test_covered_characters_equal_the_naive_count(text, n):
    words = text.split()
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    inside = {i + k for i, run in enumerate(runs) if run in runs[:i] for k in range(n)}
    assert Runs(census(text)).covered(n) == sum(len(words[i]) for i in inside)


@given(texts, st.integers(1, 6), st.integers(1, 6))
def test_covered_characters_have_a_bound(text, shorter, n):
    runs = Runs(census(text))
    assert runs.covered_at_most(n) >= Runs(census(text)).covered(n)
    runs.commonest(shorter)
    assert runs.covered_at_most(n) >= runs.covered(n)


@given(texts, st.integers(1, 6))
def test_the_commonest_run_equals_the_naive_count(text, n):
    words = text.split()
    counts = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    runs = Runs(census(text))
    if counts:
        [(run, count)] = counts.most_common(1)
        found, first = runs.commonest(n)
        assert (found, " ".join(words[first : first + n])) == (count, run)
        assert runs.characters(first, n) == len(run) <= runs.longest(n)
    else:
        assert runs.commonest(n)[0] == 0


@given(texts)
def test_bounds_change_no_answer(text):
    limits = {"1": 0.3, "2": 0.25, "3": 0.2, "4": 0.15}
    runs, total = Runs(census(text)), len(text)
    over = [f"top_{n}_gram" for n, limit in limits.items() if _top(runs, int(n)) > limit * total]
    over += [f"duplicate_{n}_gram" for n, limit in limits.items() if runs.repeated(int(n))[0] > limit * total]
    assert reason_of(only(max_top=limits, max_duplicate=limits), text) == (over[0] if over else None)


def _top(runs, n):
    count, first = runs.commonest(n)
    return count * runs.characters(first, n) if count > 1 else 0


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=12))
def test_duplicates_equal_the_naive_count(parts):
    again = [part for i, part in enumerate(parts) if part in parts[:i]]
    expected = (len(again) / len(parts), len("".join(again)), again[0]) if again else (0, 0, "")
    assert duplicates(parts) == expected


@given(st.text("ab床", max_size=60), st.integers(1, 5))
def test_character_repetition_equals_the_naive_count(text, n):
    counts = Counter(text[i : i + n] for i in range(len(text) - n + 1))
    most = min(math.isqrt(len(counts)), sum(count > 1 for count in counts.values()))
    share = sum(count for _, count in counts.most_common(most)) / (counts.total() or 1)
    finding = CharacterRepetition(max_share=0, length=n).check(Draft(text))
    assert (finding.value if finding else 0) == share


def test_ornaments_are_repeated_characters():
    assert reason_of(CharacterRepetition(), "=" * 60 + " Title " + "=" * 60) == "repeated_characters"
    assert reason_of(CharacterRepetition(), "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。") is None
