import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline import shingles
from data_pipeline.decontamination import wordruns

TEXTS = st.lists(st.text("abAB1 _.,'\n天地，ก\u0301éÉＡ\u200b", max_size=30), max_size=5)


def found(*texts):
    """The words with their texts' numbers, read back by their places."""
    words = wordruns.words_of(texts)
    places = zip(words.text.tolist(), words.start.tolist(), words.end.tolist(), strict=True)
    return [(text, texts[text][start:end]) for text, start, end in places]


def test_words_and_their_places():
    assert found("He said: “it's 3*7=21”.", "", "地球a b. c—d") == [
        *((0, word) for word in ("He", "said", "it's", "3*7=21")),
        *((2, word) for word in ("地", "球", "a", "b", "c—d")),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't stop, “now”!", 'DON’T STOP - "NOW"'),
        ("café Ａ１ É", "CAFE\u0301 A1 e"),
        ("床前明月光，疑是地上霜。", "床前 明月光\n疑是地上霜"),
        ("f(x) = a[i]", "FX = ai"),
    ],
)
def test_case_width_accents_and_punctuation_do_not_count(one, other):
    assert wordruns.words_of([one]).hashes.tolist() == wordruns.words_of([other]).hashes.tolist()


@pytest.mark.parametrize(
    ("one", "other"), [("abc", "acb"), ("ab c", "abc"), ("is", "iss"), ("天地", "地天"), ("1", "2"), ("a + b", "a = b")]
)
def test_other_words_have_other_hashes(one, other):
    assert wordruns.words_of([one]).hashes.tolist() != wordruns.words_of([other]).hashes.tolist()


def plain(text):
    """The words by the interpreter: (letters and digits in their simplest form, of an unspaced script, no letter)."""
    words = []
    for part in re.findall(r"[天地ก]|[^\s天地ก]+", text):
        simple = "".join(c for c in unicodedata.normalize("NFKD", part) if not unicodedata.combining(c)).casefold()
        if simple := "".join(re.findall(r"\w", simple)):
            words.append((simple, part in "天地ก", not any(c.isalpha() for c in simple)))
    return words


@given(TEXTS)
def test_as_a_loop_over_words_would_have_it(texts):
    words = wordruns.words_of(texts)
    expected = [(i, *word) for i, text in enumerate(texts) for word in plain(text)]
    assert list(zip(words.text.tolist(), words.unspaced.tolist(), words.number.tolist(), strict=True)) == [
        (i, unspaced, number) for i, _, unspaced, number in expected
    ]
    names = [name for _, name, _, _ in expected]
    by_name = dict(zip(names, words.hashes.tolist(), strict=True))
    assert [by_name[name] for name in names] == words.hashes.tolist()  # equal words have equal hashes
    assert len(set(by_name.values())) == len(by_name)  # and others have others


@given(TEXTS, st.sets(st.integers(1, 6), min_size=1))
def test_runs_stay_within_a_text(texts, lengths):
    words = wordruns.words_of(texts)
    alone = [wordruns.words_of([text]) for text in texts]
    for length, first, hashes in wordruns.runs(words, sorted(lengths)):
        assert hashes.tolist() == [h for text in alone for h in shingles.run_hashes(text.hashes, length).tolist()]
        assert (words.text[first] == words.text[first + length - 1]).all()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(1, 13))
def test_hashes_of_runs_by_the_definition(values, length):
    hashes = np.array(values, np.uint64)
    expected = []
    for start in range(len(values) - length + 1):
        run = 0
        for value in values[start : start + length]:
            run = (run ^ value) * 0x9E3779B97F4A7C15 % 2**64
            run ^= run >> 29
        expected.append(run)
    assert shingles.run_hashes(hashes, length).tolist() == expected
    *_, last = shingles.runs_of_lengths(hashes, range(1, length + 1))
    assert last.tolist() == expected


def test_hashes_are_the_same_in_every_process_and_version():
    assert [hex(value) for value in wordruns.words_of(["The 天"]).hashes.tolist()] == [
        "0x787da30347225419",
        "0x2ec14d0584e03549",
    ]
