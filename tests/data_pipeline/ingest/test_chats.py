"""Rows of conversations in the shapes in which people keep them; what can't be one is set aside with its reason."""

import json
import os
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_pipeline import conversations
from data_pipeline.config import SourceConfig
from data_pipeline.ingest import chats
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Bad, Row, row_of
from data_pipeline.ingest.units import files_of


def row(value, **options):
    return row_of(value, 0, SourceConfig(**options), lambda: json.dumps(value))


def said(value, **options):
    """[(role, content)] of each answer of a row."""
    found = row(value, **options)
    assert not isinstance(found, Bad), found
    [conversation] = conversations.read([found.text.encode()], [json.dumps(found.metadata)])
    return [[(turn["role"], turn["content"]) for turn in side] for side in conversation.answers()]


def learnt(value):
    found = row(value)
    [conversation] = conversations.read([found.text.encode()], [json.dumps(found.metadata)])
    return [turn["content"] for turn in conversation.turns if turn["role"] == "assistant" and turn.get("learn", True)]


B = {"role": "assistant", "content": "b"}
USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
WORDS = ("role", "from", "content", "value", "type", "text", "weight", "input", "output", "tool_calls")
TWO = [("user", "q"), ("assistant", "a")]


def nested():
    value: list = []
    for _ in range(1000):
        value = [value]
    return value


HH = "\n\nHuman: q\n\nAssistant: hm\n\nHuman: more\n\nAssistant: "


@pytest.mark.parametrize(
    ("value", "sides"),
    [
        ({"messages": [USER, ASSISTANT]}, [TWO]),
        ({"messages": [USER, ASSISTANT], "system": "s"}, [[("system", "s"), *TWO]]),
        ({"conversations": [HUMAN, GPT, {"from": "observation", "value": "o"}, GPT]}, [[*TWO, ("tool", "o"), TWO[1]]]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, ASSISTANT]}, [TWO]),
        ({"messages": [{"role": "user", "content": [{"type": "text", "value": "q"}]}, ASSISTANT]}, [TWO]),
        ({"instruction": "q", "input": "", "output": "a"}, [TWO]),
        ({"instruction": "q", "input": "i", "output": "a"}, [[("user", "q\ni"), TWO[1]]]),
        ({"instruction": "q", "output": "a", "history": [["q", "a"]]}, [[*TWO, *TWO]]),
        ({"instruction": "q", "instances": [{"input": "", "output": "a"}]}, [TWO]),
        ({"prompt": "q", "completion": "a"}, [[("prompt", "q"), ("completion", "a")]]),
        ({"prompt": ["q", "r"], "completion": "a"}, [[("prompt", "q\nr"), ("completion", "a")]]),
        ({"prompt": [USER], "completion": [ASSISTANT]}, [TWO]),
        ({"prompt": "q", "completion": [ASSISTANT, USER, ASSISTANT]}, [[*TWO, *TWO]]),
        ({"prompt": "q", "chosen": [ASSISTANT], "rejected": "b"}, [TWO, [TWO[0], ("assistant", "b")]]),
        ({"prompt": "q", "completion": "a", "system": "s"}, [[("system", "s"), *TWO]]),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, [[("prompt", "q"), ("completion", t)] for t in "ab"]),
        ({"prompt": [USER], "chosen": [ASSISTANT], "rejected": "b"}, [TWO, [TWO[0], ("assistant", "b")]]),
        ({"conversations": [HUMAN], "chosen": GPT, "rejected": "b"}, [TWO, [TWO[0], ("assistant", "b")]]),
        ({"messages": [USER], "chosen": "a", "rejected": "b"}, [TWO, [TWO[0], ("assistant", "b")]]),
        ({"instruction": "q", "chosen": "a", "rejected": "b"}, [TWO, [TWO[0], ("assistant", "b")]]),
        ({"chosen": [USER, ASSISTANT], "rejected": [USER, B]}, [TWO, [TWO[0], ("assistant", "b")]]),
        ({"prompt": "q", "chosen": [USER, ASSISTANT], "rejected": [USER, B]}, [TWO, [TWO[0], ("assistant", "b")]]),
        (
            {"prompt": "q", "messages": [USER, ASSISTANT], "chosen": [USER, ASSISTANT], "rejected": [USER, B]},
            [TWO, [TWO[0], ("assistant", "b")]],
        ),
        (
            {"prompt": "q", "system": "s", "chosen": [HUMAN, GPT], "rejected": [USER, B]},
            [[("system", "s"), *TWO], [("system", "s"), TWO[0], ("assistant", "b")]],
        ),
        ({"messages": [USER, ASSISTANT], "instruction": "q", "output": "a"}, [TWO]),
        ({"conversations": [USER, ASSISTANT], "prompt": "q", "completion": "a"}, [TWO]),
        ({"instruction": "q", "output": "a", "prompt": "p", "completion": "c"}, [TWO]),
        ({"instruction": "q", "output": "o", "chosen": "a", "rejected": "b"}, [TWO, [TWO[0], ("assistant", "b")]]),
        *(({"instruction": "q", "output": "a", "chosen": chosen}, [TWO]) for chosen in (True, "model-x")),
        ({"prompt": "q", "completion": "a", "chosen": True}, [[("user", "q"), TWO[1]]]),
        (
            {"chosen": HH + "yes", "rejected": HH + "no"},
            [[("user", "q"), ("assistant", "hm"), ("user", "more"), ("assistant", t)] for t in ("yes", "no")],
        ),
    ],
)  # fmt: skip
def test_shapes(value, sides):
    assert said(value) == sides


def test_columns_of_other_names():
    assert said({"dialog": [USER, ASSISTANT], "text": "t"}, columns={"messages": "dialog"}) == [TWO]
    names = {"prompt": "a.q", "chosen": "good", "rejected": "bad"}
    assert said({"a": {"q": "1+1="}, "good": "2", "bad": "3"}, columns=names)[1][1] == ("completion", "3")


def test_what_is_no_target():
    told = [USER, {**ASSISTANT, "weight": 0}, USER, {**ASSISTANT, "content": "b", "weight": 1}]
    assert learnt({"messages": told}) == ["b"]
    assert learnt({"conversations": [HUMAN, {**GPT, "loss_weight": 0.0}, HUMAN, GPT]}) == ["a"]
    assert learnt({"prompt": [USER, ASSISTANT, USER], "completion": [{**ASSISTANT, "content": "b"}]}) == ["b"]
    assert learnt({"chosen": HH + "yes", "rejected": HH + "no"}) == ["yes", "no"]


def test_tools_and_calls_come_along():
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": {"x": 1}}]}
    found = row({"messages": [USER, call], "tools": '[{"name": "f"}]', "id": 7})
    [conversation] = conversations.read([found.text.encode()], [json.dumps(found.metadata)])
    assert conversation.tools == [{"name": "f"}]
    assert conversation.turns[1] == {**call, "content": ""}
    assert found.metadata["id"] == 7


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"messages": [USER, {**ASSISTANT, "x": 1 + 2j}]}, "conversation_not_json"),
        ({"messages": [USER, {**ASSISTANT, "x": float("nan")}]}, "conversation_not_json"),
        ({"messages": [USER, {**ASSISTANT, "x": nested()}]}, "conversation_not_json"),
        ({"messages": [USER, ASSISTANT], "tools": "[" * 100_000}, "conversation_not_json"),
        ({"messages": [USER, ASSISTANT], "tools": '[{"x": NaN}]'}, "conversation_not_json"),
        (
            {name: [{**USER, "x": nested()}, answer] for name, answer in (("chosen", ASSISTANT), ("rejected", B))},
            "conversation_not_json",
        ),
        ({"messages": [USER, {**ASSISTANT, "content": "a\ufdd0"}]}, "reserved_character"),
        ({"messages": [USER, {**ASSISTANT, "x": {"\ufdd2": 1}}]}, "reserved_character"),
        ({"messages": [USER, ASSISTANT], "tools": ["\ufdd1"]}, "reserved_character"),
        ({"messages": []}, "no_messages"),
        ({"messages": "hello"}, "no_messages"),
        ({"messages": [USER]}, "no_completion"),
        ({"messages": [USER, {**ASSISTANT, "content": " "}]}, "no_completion"),
        ({"messages": [USER, {**ASSISTANT, "weight": 0}]}, "no_completion"),
        ({"messages": [USER, {"role": "assistant"}]}, "message_without_text"),
        ({"messages": [USER, {"role": "wizard", "content": "a"}]}, "unknown_role"),
        ({"messages": [USER, {"content": "a"}]}, "unknown_role"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}, ASSISTANT]}, "message_is_no_text"),
        ({"messages": [USER, {"role": "assistant", "content": 3}]}, "message_is_no_text"),
        ({"instruction": "q", "output": ""}, "no_completion"),
        ({"instruction": "q", "output": "a", "history": ["x"]}, "history_is_no_pairs"),
        *(({"instruction": "q", "output": "a", "history": x}, "history_is_no_pairs") for x in (5, "qa", {"q": "a"})),
        ({"instruction": "q", "instances": [{"output": "a"}, {"output": "b"}]}, "several_instances"),
        ({"instruction": "q"}, "no_text"),
        ({"prompt": "q", "completion": ""}, "no_completion"),
        ({"prompt": "q", "completion": 3}, "text_is_no_string"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "same_answers"),
        ({"prompt": "q", "chosen": "", "rejected": "a"}, "no_completion"),
        ({"chosen": HH + "yes", "rejected": HH}, "no_completion"),
        ({"chosen": HH + "yes", "rejected": HH.replace("more", "less") + "no"}, "other_prompts"),
        ({"chosen": "\n\nHuman: q", "rejected": "no transcript"}, "no_transcript"),
        ({"chosen": "\n\nAssistant: a", "rejected": "\n\nAssistant: b"}, "no_prompt"),
        ({"chosen": "one text", "rejected": "another"}, "no_text"),
        ({"messages": [{"role": "user", "content": "\ud800"}, ASSISTANT]}, "invalid_unicode"),
        ({"messages": [{**USER, "name": "\ud800"}, ASSISTANT]}, "invalid_unicode"),
    ],
)
def test_what_can_not_be_one(value, reason):
    found = row_of(value, 0, SourceConfig(), lambda: "shown")
    assert isinstance(found, Bad), found
    assert found.reason == reason


VALUES = st.recursive(
    st.sampled_from([None, True, 5, 0.5, "", "q", "user", "gpt", "text", HH + "a", "[", "[" * 9999]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=9,
)


ROWS = [{"instruction": "q", "output": "a"}, {"prompt": "q", "completion": "a"}, {"messages": [USER, ASSISTANT]}, {}]


@given(st.sampled_from(ROWS), st.dictionaries(st.sampled_from(chats.KEYS), VALUES, max_size=3))
@example(ROWS[0], {"history": 5})
@settings(max_examples=300, deadline=None)
def test_plain_mistakes_have_a_reason_of_their_own(row, mistakes):
    """Whatever stands where: nothing is raised, and it is never said to be no JSON, which it is."""
    value = row | mistakes
    found = row_of(value, 0, SourceConfig(), lambda: "shown")
    deep = value.get("tools") == "[" * 9999
    assert isinstance(found, Row) or deep or found.reason != "conversation_not_json"


def test_values_of_parquet():
    said = {**ASSISTANT, "at": datetime(2026, 1, 2), "day": date(2026, 1, 2), "cost": Decimal("1.5")}
    found = row_of({"messages": [USER, said]}, 0, SourceConfig(), lambda: "shown")
    assert found.metadata["conversation"]["turns"][1] == {
        **{"role": "assistant", "content": 1},
        **{"at": "2026-01-02T00:00:00", "day": "2026-01-02", "cost": "1.5"},
    }


def test_what_is_not_taken_stays_in_the_metadata():
    told = row({"messages": [USER, ASSISTANT], "input": "http://x", "prompt": "p", "id": 1}).metadata
    assert {key: told[key] for key in told if key != "conversation"} == {"input": "http://x", "prompt": "p", "id": 1}
    told = row({"instruction": "q", "input": "i", "output": "a", "system": "s", "id": 1}).metadata
    assert {key: told[key] for key in told if key != "conversation"} == {"id": 1}


def test_other_text_comes_first():
    assert row({"text": "t", "messages": [USER, ASSISTANT]}).metadata == {}
    assert row({"messages": [USER, ASSISTANT], "other": "t"}, text_key="other").text == "t"


CORPORA = os.environ.get("MAXLM_CORPORA", "")


@pytest.mark.skipif(not CORPORA, reason="MAXLM_CORPORA names no folder of real text")
def test_rows_as_they_are_published():
    """Files of LLaMA-Factory, MedicalGPT, Self-Instruct and hh-rlhf: nearly every row is a conversation."""
    for path in sorted(Path(CORPORA, "tune").rglob("*.json*")):
        if "kto" in path.name:
            continue  # judgements of single answers
        reasons, rows = Counter(), 0
        for unit in files_of(SourceConfig(path=str(path))):
            for found in read(unit):
                rows += 1
                reasons[found.reason if isinstance(found, Bad) else "conversation" in found.metadata] += 1
        assert reasons[True] > 0.97 * rows, (path, reasons)
        assert not reasons[False], path
