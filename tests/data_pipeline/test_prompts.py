"""A prompt is told from its completion by its length, and by nothing that an edit could move."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline import prompts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), max_size=5))
def test_lengths_come_back(documents):
    texts = [(prompt + completion).encode() for prompt, completion, _ in documents]
    said = [json.dumps({"x": 1, **prompts.described(prompt)}) if known else None for prompt, _, known in documents]
    expected = [len(prompt.encode()) if known else 0 for prompt, _, known in documents]
    assert prompts.sizes(texts, said).tolist() == expected


def test_other_metadata_says_nothing():
    said = [json.dumps({"note": "prompt_bytes"}), "{}", json.dumps({"a": {"prompt_bytes": 3}})]
    assert prompts.sizes([b"one", b"two", b"three"], said).tolist() == [0, 0, 0]


@pytest.mark.parametrize("text", ["quest?answer", "Question? answer", "q", ""])
def test_an_edited_text_is_told(text):
    said = json.dumps(prompts.described("question?"))
    with pytest.raises(prompts.EditedError, match="the text was edited") as told:
        prompts.sizes([b"question?answer", text.encode()], [said, said])
    assert told.value.number == 1


@pytest.mark.parametrize("size", [-1, 99, "3", 1.5, True])
def test_a_length_that_cannot_be(size):
    said = json.dumps({**prompts.described("abc"), "prompt_bytes": size})
    with pytest.raises(prompts.EditedError):
        prompts.sizes([b"abcdef"], [said])
