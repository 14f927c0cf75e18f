"""Who said what comes back from a text and its metadata, and an edit in between is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline import conversations
from data_pipeline.conversations import Conversation

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool"]), "content": TEXTS},
        optional={"learn": st.just(False), "name": TEXTS, "bytes": st.integers()},
    ),
    min_size=1,
    max_size=5,
)
PLAIN = st.tuples(TEXTS, TEXTS).map(
    lambda pair: [{"role": "prompt", "content": pair[0]}, {"role": "completion", "content": pair[1]}]
)


@given(st.lists(st.one_of(TURNS, PLAIN, st.none()), max_size=4))
def test_turns_come_back(documents):
    made = [None if turns is None else Conversation(tuple(turns)) for turns in documents]
    texts = [b"text" if one is None else one.text.encode() for one in made]
    said = [None if one is None else json.dumps({"x": 1, **one.described()}) for one in made]
    assert conversations.read(texts, said) == made


def test_pairs():
    turns = [{"role": "user", "content": "a"}] + [{"role": "assistant", "content": text} for text in ("b", "c", "d")]
    pair = Conversation(tuple(turns), chosen=2, rejected=1, tools=[{"name": "t"}])
    assert conversations.read([pair.text.encode()], [json.dumps(pair.described())]) == [pair]
    assert [[turn["content"] for turn in side] for side in pair.answers()] == [["a", "b", "c"], ["a", "d"]]


def test_other_metadata_says_nothing():
    said = [json.dumps({"note": "conversation"}), "{}", json.dumps({"conversation": 3}), '{"a": {"conversation": {}}}']
    assert conversations.read([b"one", b"two", b"three", b"four"], said) == [None] * 4


@pytest.mark.parametrize("text", ["question!answer", "question?answer ", "question?", ""])
def test_an_edited_text_is_told(text):
    turns = ({"role": "prompt", "content": "question?"}, {"role": "completion", "content": "answer"})
    said = json.dumps(Conversation(turns).described())
    with pytest.raises(conversations.EditedError, match="the text was edited") as told:
        conversations.read([b"question?answer", text.encode()], [said, said])
    assert told.value.number == 1


def test_what_an_earlier_version_said():
    """Prompts that were told in another way would be learnt as if they were answers."""
    said = [None, json.dumps({"url": "x", "prompt_bytes": 9, "prompt_digest": "0123456789abcdef"})]
    with pytest.raises(conversations.UnreadableError, match="its prompt would be learnt; ingest anew") as told:
        conversations.read([b"text", b"question?answer"], said)
    assert told.value.number == 1
    turns = [{"role": "prompt", "bytes": 9}, {"role": "completion", "bytes": 6}]
    before = Conversation(({"role": "user", "content": "question?answer"},)).described()["conversation"]
    with pytest.raises(conversations.UnreadableError, match="turns' lengths in another way; ingest anew"):
        conversations.read([b"question?answer"], [json.dumps({"conversation": before | {"turns": turns}})])
    others = [json.dumps({"prompt_bytes": 9}), json.dumps({"a": {"prompt_bytes": 9, "prompt_digest": ""}})]
    assert conversations.read([b"question?answer"] * 2, others) == [None] * 2
