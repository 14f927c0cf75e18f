"""Documents that were said in turns: prompt and completion, chats, and pairs of answers of which one was preferred.

The text of such a document is what was said, one turn after the other, so that all stages see it as any text; its
metadata say who said which part. Beside the parts' lengths stands a digest of the text: whoever edits it afterwards
can't move the boundaries unnoticed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PROMPT, COMPLETION = "prompt", "completion"  # the two turns of text that no chat template stands around
_KEY = "conversation"
_BEFORE = ("prompt_bytes", "prompt_digest")  # keys that metadata had in its place, once
_EARLIER = "an earlier maxlm ingested it"
_BETWEEN = "\n\n"  # turns of a chat; prompt and completion follow one another as they are

Turn = dict[str, Any]  # "role", "content", and what else a template may know; "learn": False is no target


@dataclass(frozen=True)
class Conversation:
    """Turns, the last ones of which may be two answers."""

    turns: tuple[Turn, ...]
    chosen: int = 0  # turns of the preferred answer, behind those that both share; 0: there is one answer alone
    rejected: int = 0  # turns of the other one, behind these
    tools: Any = None  # what a template is told of tools

    @property
    def plain(self) -> bool:
        """Whether it is text that no template stands around."""
        return self.turns[0]["role"] == PROMPT

    @property
    def text(self) -> str:
        return ("" if self.plain else _BETWEEN).join(turn["content"] for turn in self.turns)

    def answers(self) -> list[tuple[Turn, ...]]:
        """The turns as they are learnt: all of them, or of a pair both sides, the preferred one first."""
        if not self.chosen:
            return [self.turns]
        shared = len(self.turns) - self.chosen - self.rejected
        before, between = self.turns[:shared], shared + self.chosen
        return [before + self.turns[shared:between], before + self.turns[between:]]

    def described(self) -> dict[str, Any]:
        """What the metadata of the document say."""
        said: dict[str, Any] = {
            # In a content's place its bytes.
            "turns": [turn | {"content": len(turn["content"].encode())} for turn in self.turns],
            "digest": _digest(self.text.encode()),
        }
        if self.chosen:
            said |= {"chosen": self.chosen, "rejected": self.rejected}
        return {_KEY: said | ({"tools": self.tools} if self.tools else {})}


class UnreadableError(Exception):
    """Who said what in a text can't be told. `number`: in which of the texts."""

    def __init__(self, number: int, why: str):
        super().__init__(why)
        self.number = number


class EditedError(UnreadableError):
    """A text is not what was said any more."""

    def __init__(self, number: int):
        super().__init__(
            number,
            "the text was edited, and who said what can't be told any more; keep recipes, segments and "
            "decontamination by cutting away from the domains of such documents",
        )


def read(texts: Sequence[bytes], metadata: Sequence[str | None]) -> list[Conversation | None]:
    """The conversation that each text is, or None.

    Raises:
      UnreadableError: a text is not what its metadata say was said (EditedError), or an earlier maxlm wrote these.
    """
    found: list[Conversation | None] = [None] * len(texts)
    for i, (text, said) in enumerate(zip(texts, metadata, strict=True)):
        if said is None:
            continue
        if all(f'"{key}"' in said for key in _BEFORE) and json.loads(said).keys() >= set(_BEFORE):
            raise UnreadableError(i, f"{_EARLIER} ({', '.join(_BEFORE)}), and its prompt would be learnt; ingest anew")
        if f'"{_KEY}"' not in said:
            continue
        values = json.loads(said).get(_KEY)
        if isinstance(values, dict) and "turns" in values:  # else it is another key's value
            if _digest(text) != values.get("digest"):
                raise EditedError(i)
            if any("content" not in turn for turn in values["turns"]):
                raise UnreadableError(i, f"{_EARLIER}, which told its turns' lengths in another way; ingest anew")
            found[i] = _read(text, values)
    return found


def _read(text: bytes, values: dict[str, Any]) -> Conversation:
    plain = values["turns"][0]["role"] == PROMPT
    turns, place = [], 0
    for turn in values["turns"]:
        end = place + turn["content"]
        turns.append(turn | {"content": text[place:end].decode()})
        place = end + (0 if plain else len(_BETWEEN))
    return Conversation(tuple(turns), values.get("chosen", 0), values.get("rejected", 0), values.get("tools"))


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=8).hexdigest()
