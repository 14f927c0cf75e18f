"""Rows that hold conversations, in the shapes in which people keep them.

- ``messages`` or ``conversations``: a list of turns, each with ``role`` and ``content``, or ShareGPT's ``from`` and
  ``value``; content may be a list of texts; ``weight`` (or ``loss_weight``) 0 is no target; ``tools`` beside it.
- ``instruction``, ``input``, ``output`` (Alpaca; with ``system`` and ``history``), also ``instruction`` and one of
  ``instances`` (Self-Instruct).
- ``prompt`` and ``completion``: texts that no template stands around, or lists of turns.
- ``chosen`` and ``rejected``: two answers to any of these prompts, or two whole transcripts as of hh-rlhf
  ("\\n\\nHuman: …\\n\\nAssistant: …") or lists of turns, whose common beginning is the prompt.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from data_pipeline.conversations import COMPLETION, PROMPT, Conversation, Turn

# What a row of a conversation may hold; `columns` of a source may give each another name.
KEYS = (
    "messages", "conversations", "instruction", "input", "output", "instances", "system", "history", "tools",
    PROMPT, COMPLETION, "chosen", "rejected",
)  # fmt: skip
ROLES = {
    **{name: name for name in ("system", "developer", "user", "assistant", "tool")},
    **dict.fromkeys(("human", "prompter", "question"), "user"),
    **dict.fromkeys(("gpt", "bot", "model", "chatgpt", "bard", "bing", "answer", "function_call"), "assistant"),
    **dict.fromkeys(("function", "observation", "tool_response"), "tool"),
}
_TRANSCRIPT = re.compile(r"\n\n(Human|Assistant):[ \n]?")
_ASSISTANT = "assistant"


class RefusedError(Exception):
    """A row that is meant as a conversation and can't be one; the message is the reason that its quarantine names."""


class Found(NamedTuple):
    """A row's conversation."""

    conversation: Conversation
    keys: frozenset[str]  # of KEYS, those that it was made of


class _Asked(NamedTuple):
    """What a row's answer follows, or, of a list of messages, all of them."""

    turns: list[Turn]
    keys: tuple[str, ...]
    answer: str = ""  # the key of the answer that isn't among the turns


def conversation_of(row: Mapping[str, Any]) -> Found | None:
    """The conversation that a row of KEYS holds; None: it holds none.

    Raises:
      RefusedError: it holds one that can't be used.
    """
    row = {key: value for key, value in row.items() if value is not None}
    if "chosen" in row and "rejected" in row:
        return _pair(row)
    if (asked := _asked(row)) is None:
        return None
    turns = asked.turns
    if asked.answer == COMPLETION:
        plain = turns and turns[-1]["role"] == PROMPT
        turns = _context(turns) + _said(row[COMPLETION], COMPLETION if plain else _ASSISTANT)
    elif asked.answer:
        turns = turns + _said(row[asked.answer], _ASSISTANT)
    learnt = [turn for turn in turns if turn["role"] in (_ASSISTANT, COMPLETION) and turn.get("learn", True)]
    if not any(turn["content"].strip() or len(turn) > 2 for turn in learnt):
        raise RefusedError("no_completion")
    keys = frozenset((*asked.keys, asked.answer, "tools"))
    return Found(Conversation(tuple(turns), tools=_tools(row)), keys)


def _pair(row: Mapping[str, Any]) -> Found | None:
    answers = [row[name] for name in ("chosen", "rejected")]
    asked = None if all(map(_is_whole, answers)) else _asked(row)
    if asked is None:
        if isinstance(row["chosen"], str) and not _TRANSCRIPT.match(row["chosen"]):
            return None  # two texts, whatever they are
        sides = [_transcript(answer) for answer in answers]
        count = 0
        while all(len(side) > count + 1 for side in sides) and sides[0][count] == sides[1][count]:
            count += 1
        before, sides = sides[0][:count], [side[count:] for side in sides]
        if before and before[0]["role"] == "user":
            before = _system(row) + before
    else:
        before = asked.turns
        role = COMPLETION if before and before[-1]["role"] == PROMPT else _ASSISTANT
        sides = [_said(answer, role) for answer in answers]
    if not before:
        raise RefusedError("no_prompt")
    if any(not side or not side[-1]["content"].strip() for side in sides):
        raise RefusedError("no_completion")
    if any(turns[0]["role"] not in (_ASSISTANT, COMPLETION) for turns in sides):
        raise RefusedError("other_prompts")
    chosen, rejected = sides
    if chosen == rejected:
        raise RefusedError("same_answers")
    keys = frozenset(("chosen", "rejected", "tools", *(asked.keys if asked else ("system",))))
    return Found(Conversation((*_context(before), *chosen, *rejected), len(chosen), len(rejected), _tools(row)), keys)


def _is_whole(answer: Any) -> bool:
    """Whether an answer holds what was asked too, whatever stands beside it: a list that begins with who asks."""
    if not isinstance(answer, list) or not answer or not isinstance(answer[0], dict):
        return False
    role = answer[0].get("role", answer[0].get("from"))
    return isinstance(role, str) and ROLES.get(role.lower()) in ("system", "developer", "user")


def _system(row: Mapping[str, Any]) -> list[Turn]:
    return [{"role": "system", "content": _text(row["system"])}] if row.get("system") else []


def _asked(row: Mapping[str, Any]) -> _Asked | None:
    """None: the row has none."""
    system = _system(row)
    for name in ("messages", "conversations"):
        if name in row:
            return _Asked(system + _turns(row[name]), (name, "system"))
    if "instruction" in row and ({"output", "instances", "chosen"} & row.keys()):
        answer = "output" if "output" in row and "instances" not in row else ""
        keys = ("instruction", "input", "instances", "history", "system")
        return _Asked(system + _instructed(row), keys, answer)
    if PROMPT in row and ({COMPLETION, "chosen"} & row.keys()):
        plain = not system and all(_is_text(row[key]) for key in (COMPLETION, "chosen", "rejected") if key in row)
        answer = COMPLETION if COMPLETION in row else ""
        return _Asked(system + _said(row[PROMPT], PROMPT if plain else "user"), (PROMPT, "system"), answer)
    return None


def _instructed(row: Mapping[str, Any]) -> list[Turn]:
    """Alpaca's and Self-Instruct's."""
    turns: list[Turn] = []
    history = row.get("history") or []
    if not isinstance(history, list | tuple):
        raise RefusedError("history_is_no_pairs")
    for entry in history:
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise RefusedError("history_is_no_pairs")
        turns += _said(entry[0], "user") + _said(entry[1], _ASSISTANT)
    instances = row.get("instances", [row])
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        raise RefusedError("several_instances")
    asked = "\n".join(filter(None, (_text(row["instruction"]), _text(instances[0].get("input") or ""))))
    turns += _said(asked, "user")
    return turns + (_said(instances[0].get("output") or "", _ASSISTANT) if "instances" in row else [])


def _said(value: Any, role: str) -> list[Turn]:
    """A text, or its lines, as the turn of `role`, a message, or a list of messages."""
    if _is_text(value):
        return [{"role": role, "content": value if isinstance(value, str) else "\n".join(value)}]
    if not isinstance(value, list | dict):
        raise RefusedError("text_is_no_string")
    return _turns([value] if isinstance(value, dict) else value)


def _is_text(value: Any) -> bool:
    """Whether it is a text, or the lines of one."""
    return isinstance(value, str) or (
        isinstance(value, list) and len(value) > 0 and all(isinstance(line, str) for line in value)
    )


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise RefusedError("no_messages")
    return [_turn(message) for message in messages]


def _turn(message: Mapping[str, Any]) -> Turn:
    role = message.get("role", message.get("from"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise RefusedError("unknown_role")
    content = next((message[key] for key in ("content", "value", "text") if message.get(key) is not None), None)
    known = ("role", "from", "content", "value", "text", "weight", "loss_weight")
    others = {key: value for key, value in message.items() if key not in known and value is not None}
    if content is None and not others.get("tool_calls"):
        raise RefusedError("message_without_text")
    weight = message.get("weight", message.get("loss_weight"))
    said = {"role": ROLES[role.lower()], "content": "" if content is None else _text(content), **others}
    return {**said, "learn": False} if weight == 0 and said["role"] == _ASSISTANT else said


def _text(content: Any) -> str:
    """A message's text; of a list of parts, all of which are texts, their sum."""
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        parts = [part.get("text", part.get("value")) for part in content]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(content, str):
        raise RefusedError("message_is_no_text")
    return content


def _transcript(value: Any) -> list[Turn]:
    """hh-rlhf's form, or a list of messages."""
    if not isinstance(value, str):
        return _said(value, _ASSISTANT)
    head, *parts = _TRANSCRIPT.split(value)
    if head or not parts:
        raise RefusedError("no_transcript")
    speakers = {"Human": "user", "Assistant": _ASSISTANT}
    return [{"role": speakers[who], "content": said} for who, said in zip(parts[::2], parts[1::2], strict=True)]


def _context(turns: list[Turn]) -> list[Turn]:
    """Turns that are not learnt, whoever said them."""
    return [{**turn, "learn": False} if turn["role"] == _ASSISTANT else turn for turn in turns]


def _tools(row: Mapping[str, Any]) -> Any:
    tools = row.get("tools") or None
    if isinstance(tools, str):
        try:
            return json.loads(tools) or None
        except ValueError:
            return tools
        except RecursionError as error:
            raise RefusedError("conversation_not_json") from error
    return tools
