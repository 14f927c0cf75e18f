"""Conversations as tokens: which of them are learnt, where a pair's second answer begins, what is too long for a row.

A conversation is never cut by a row's end or a budget. One that is longer than a row is left out, or ends where the row
does, as the config says; either way what is lost is counted. One that the template can't write, or of which nothing is
to be learnt, is left out and counted too.
"""

import itertools
from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np

from data_pipeline.config import ConversationsConfig
from data_pipeline.conversations import Conversation
from data_pipeline.document import TOKENIZER
from data_pipeline.mix.corpus import Corpus
from maxlm.errors import ConfigError, DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, write_atomic
from maxlm.tokenizer import chat
from maxlm.tokenizer.base import Tokenizer


class Kind(IntEnum):
    """What a document is."""

    TEXT = 0
    CONVERSATION = 1
    PAIR = 2  # two answers to one prompt: a segment each, one behind the other


UNUSABLE = -1


class Told(NamedTuple):
    """A conversation's tokens."""

    ids: np.ndarray  # int32 [tokens]; none where it is left out
    learn: np.ndarray  # bool [tokens]
    second: int  # where the second answer's segment begins; 0: there is none
    lost: int  # tokens beyond a row; UNUSABLE: it is left out whatever its length


class Dialogues:
    """Encodes the conversations of a corpus. Several threads may use it at once."""

    def __init__(
        self, corpus: Corpus, tokenizer: Tokenizer, settings: ConversationsConfig, dataset: PathLike, row_tokens: int
    ):
        """`dataset`: in whose tokenizer's folder the chat template stands. `row_tokens`: places in a row."""
        self._corpus, self._tokenizer, self._settings = corpus, tokenizer, settings
        self._folder, self._row_tokens = as_path(dataset) / TOKENIZER, row_tokens

    def encode(self, conversations: Sequence[Conversation]) -> list[Told]:
        """The tokens of conversations, in their order.

        Raises:
          ConfigError: one is a chat, and there is no template.
        """
        texts = self._texts([one for one in conversations if one.plain])
        return [self._told(next(texts) if one.plain else self._chat(one)) for one in conversations]

    def _told(self, sides: list[chat.Encoded] | chat.ChatError) -> Told:
        if isinstance(sides, chat.ChatError) or not _differ(sides):
            return _left_out(UNUSABLE)
        total, room = sum(len(side.ids) for side in sides), self._row_tokens // len(sides)
        if total > self._row_tokens:
            sides = [chat.Encoded(side.ids[:room], side.learn[:room]) for side in sides]
            if self._settings.too_long == "drop" or not _differ(sides):
                return _left_out(total)
        ids, learn = (np.concatenate(columns) for columns in zip(*sides, strict=True))
        return Told(ids, learn, len(sides[0].ids) if len(sides) > 1 else 0, total - len(ids))

    def why_unusable(self, ordinal: int) -> str:
        """Where a document stands, and why its conversation is UNUSABLE."""
        (batch,) = self._corpus.batches(np.array([ordinal]))
        (conversation,) = batch.conversations
        why = "nothing of it is to be learnt"
        if conversation and conversation.chosen:
            why = "its answers are the same tokens, or nothing of one is to be learnt"
        if conversation and not conversation.plain and isinstance(found := self._chat(conversation), chat.ChatError):
            why = str(found)
        return f"{self._corpus.where(ordinal)}: {why}"

    def _texts(self, conversations: Sequence[Conversation]) -> Iterator[list[chat.Encoded]]:
        """Prompt and completion, or both of a pair's, that no template stands around; a batch at once."""
        answers = [one.answers() for one in conversations]
        texts = [[turn["content"].encode() for turn in turns] for sides in answers for turns in sides]
        # Apart, so that the boundary falls between two tokens.
        heads = self._tokenizer.encode_arrays([prompt for prompt, _ in texts], bos=True)
        tails = self._tokenizer.encode_arrays([completion for _, completion in texts], eos=True)
        found = (
            chat.Encoded(np.concatenate([head, tail]), np.arange(len(head) + len(tail)) >= len(head))
            for head, tail in zip(heads, tails, strict=True)
        )
        return (list(itertools.islice(found, len(sides))) for sides in answers)

    def _chat(self, conversation: Conversation) -> list[chat.Encoded] | chat.ChatError:
        """A chat, or both sides of a pair; or why the template can't write it."""
        learn, tools = self._settings.learn, conversation.tools
        try:
            return [self._template.encode(turns, learn, tools) for turns in conversation.answers()]
        except chat.ChatError as error:
            return error

    @cached_property
    def _template(self) -> chat.ChatTemplate:
        return chat.chat_template(self._folder, self._tokenizer)


def _differ(sides: list[chat.Encoded]) -> bool:
    """Whether there is something to learn of each, and not the same of both."""
    alike = any(np.array_equal(one.ids, other.ids) for one, other in itertools.pairwise(sides))
    return not alike and all(side.learn[1:].any() for side in sides)


def _left_out(lost: int) -> Told:
    return Told(np.empty(0, np.int32), np.empty(0, bool), 0, lost)


def keep_template(settings: ConversationsConfig, dataset: PathLike, tokenizer: Tokenizer) -> None:
    """Puts the template that the config names beside the tokenizer, whence runs, and what is exported, take it.

    Raises:
      ConfigError: no template that Jinja understands.
      DataError: no such file, or blocks were made with another template.
      DiskFullError: no space for it.
    """
    if not settings.template:
        return
    source = chat.CHATML if settings.template == "chatml" else chat.read_template(settings.template)
    chat.ChatTemplate(source, tokenizer, settings.template)  # one that can't be is told now
    path = as_path(dataset) / TOKENIZER / chat.TEMPLATE_FILE
    in_use, begun = _in_use(path.parent, tokenizer), (as_path(dataset) / "dataset.json").exists()
    if in_use and in_use.source == source and (begun or path.exists()):
        return
    if in_use and begun:
        raise DataError(
            f"{in_use.where}: this data set was begun with this chat template, and config.conversations.template="
            f"{settings.template} names another; go back to that, or produce into another folder"
        )
    with naming_full_disk("the chat template", path):
        write_atomic(path, source)


def _in_use(folder: PathLike, tokenizer: Tokenizer) -> chat.ChatTemplate | None:
    """None: there is none that could have written a chat."""
    try:
        return chat.chat_template(folder, tokenizer)
    except ConfigError:
        return None
