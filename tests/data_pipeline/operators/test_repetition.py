from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.operators.repetition import Repetition, Runs, duplicate_shares
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
    lines = ["x" * length, "x" * length, "y" * (100 - 2 * length)]
    assert reason_of(only(max_duplicate_line_chars=0.20), "\n".join(lines)) == reason


@pytest.mark.parametrize(("repeats", "reason"), [(3, None), (4, "duplicate_paragraphs")])
def test_duplicate_paragraphs(repeats, reason):
    paragraphs = ["two\nlines"] * (repeats + 1) + numbered(9 - repeats)
    assert reason_of(only(max_duplicate_paragraphs=0.30), "\n\n".join(paragraphs)) == reason


@pytest.mark.parametrize(("length", "reason"), [(20, None), (21, "duplicate_paragraph_characters")])
def test_characters_in_duplicate_paragraphs(length, reason):
    paragraphs = ["x" * length, "x" * length, "y" * (100 - 2 * length)]
    assert reason_of(only(max_duplicate_paragraph_chars=0.20), "\n \n".join(paragraphs)) == reason


@pytest.mark.parametrize(("n", "limit"), [("2", 0.20), ("3", 0.18), ("4", 0.16)])
def test_commonest_run_on_both_sides_of_gophers_limit(n, limit):
    run = numbered(int(n), "r")
    fits = int(2 * int(n) / limit)  # words are of one length, so shares of words are shares of characters
    for total, reason in ((fits + 1, None), (fits - 1, f"top_{n}_gram")):
        words = [*run, "b0000", *run, *numbered(total - 2 * int(n) - 1)]
        assert reason_of(only(max_top={n: limit}), " ".join(words)) == reason


@pytest.mark.parametrize(
    ("n", "limit"), [("5", 0.15), ("6", 0.14), ("7", 0.13), ("8", 0.12), ("9", 0.11), ("10", 0.10)]
)
def test_duplicate_runs_on_both_sides_of_gophers_limit(n, limit):
    run = numbered(int(n), "r")
    fits = int(2 * int(n) / limit)
    for total, reason in ((fits + 1, None), (fits - 1, f"duplicate_{n}_gram")):
        words = [*run, "b0000", *run, *numbered(total - 2 * int(n) - 1)]
        assert reason_of(only(max_duplicate={n: limit}), " ".join(words)) == reason


def test_defaults_are_gophers_table_a1():
    assert Repetition().max_top == {"2": 0.20, "3": 0.18, "4": 0.16}
    assert Repetition().max_duplicate == {"5": 0.15, "6": 0.14, "7": 0.13, "8": 0.12, "9": 0.11, "10": 0.10}


def test_a_run_that_occurs_once_is_no_repetition():
    assert Runs(["a", "b", "c"]).top_share(2) == 0
    assert reason_of(Repetition(), "a short one") is None


def test_overlapping_runs_count_once():
    assert Runs(["a"] * 6).duplicate_share(5) == 1


def test_chinese_repeats_by_the_character():
    text = "床前明月光疑是地上霜。" * 4
    assert reason_of(only(max_duplicate={"5": 0.15}), text) == "duplicate_5_gram"


def test_a_shared_line_in_other_text_passes_the_defaults():
    assert reason_of(Repetition(), "\n".join(["header", *numbered(200), "header"])) is None


words_lists = st.lists(st.sampled_from(["a", "bb", "ccc"]), max_size=30)


@given(words_lists, st.integers(1, 6))
def test_duplicate_share_equals_the_naive_count(words, n):
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    counts = Counter(runs)
    inside = {i + k for i, run in enumerate(runs) if counts[run] > 1 for k in range(n)}
    expected = sum(len(words[i]) for i in inside) / (sum(map(len, words)) or 1)
    assert Runs(words).duplicate_share(n) == pytest.approx(expected)


@given(words_lists, st.integers(1, 4))
def test_top_share_equals_the_naive_count(words, n):
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    most = max(Counter(runs).values(), default=0)
    shares = {0.0} if most < 2 else set()
    longest = max((len("".join(run)) for run, count in Counter(runs).items() if count == most), default=0)
    for run, count in Counter(runs).items():
        if most >= 2 and count == most and len("".join(run)) == longest:
            inside = {i + k for i, other in enumerate(runs) if other == run for k in range(n)}
            shares.add(sum(len(words[i]) for i in inside) / sum(map(len, words)))
    assert any(Runs(words).top_share(n) == pytest.approx(share) for share in shares)


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=12))
def test_duplicate_shares_equal_the_naive_count(parts):
    again = [part for i, part in enumerate(parts) if part in parts[:i]]
    expected = (len(again) / len(parts), len("".join(again)) / len("".join(parts))) if parts else (0, 0)
    assert duplicate_shares(parts) == pytest.approx(expected)
