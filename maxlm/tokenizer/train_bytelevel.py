"""Trains byte-level BPE with `tokenizers`, whose trainer counts words instead of holding the text."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import Tokenizer, models, trainers

from maxlm.errors import DataError
from maxlm.tokenizer import bpe, huggingface
from maxlm.tokenizer.bytelevel import SIGN_OF_BYTE, ByteLevelTokenizer, assemble, pre_tokenizer, signs, unsigned
from maxlm.tokenizer.settings import AROUND, TokenizerSettings, gb2312_level_1

_MAX_BYTES = 48  # of a token: 16 Chinese characters


def train_model(
    texts: Iterator[str], settings: TokenizerSettings, unwanted: Callable[[str], bool]
) -> ByteLevelTokenizer:
    """A tokenizer of as many pieces as are asked for, or fewer where the text holds no more.

    Raises:
      DataError: no text.
    """
    special = (*AROUND, *settings.special_tokens)
    room = settings.vocab_size - settings.spare - len(special) - len(settings.user_tokens) - 256
    learnt = _learn(texts, settings, room + room // 4 + 256)
    if not learnt:
        raise DataError("no text to train a tokenizer on")
    split = pre_tokenizer(settings.digits)
    kept = [merge for merge in learnt if not _refused("".join(merge), split, unwanted)]
    # Where two merges make the same piece, all texts go by one of them: bpe.py.
    made = bpe.merges_of([left + right for left, right in kept], bpe.by_pair(bpe.ranked(kept)))
    kept = [merge for merge in kept if made.get("".join(merge)) == merge]
    merges = _with_characters(kept, gb2312_level_1() if settings.characters == "gb2312" else "", room)
    model = assemble(special, settings.user_tokens, merges, settings.digits)
    described = huggingface.settings(special)
    return ByteLevelTokenizer(model.encode(), described.encode(), settings.vocab_size, where="the trained model")


def _learn(texts: Iterator[str], settings: TokenizerSettings, merges: int) -> list[bpe.Merge]:
    """The pairs that are merged, most frequent first."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizer(settings.digits)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=list(SIGN_OF_BYTE.values()),
        max_token_length=_MAX_BYTES,
    )
    inner.train_from_iterator(_between(texts, settings.user_tokens), trainer)
    return [tuple(merge) for merge in json.loads(inner.to_str())["model"]["merges"]]


def _between(texts: Iterator[str], user_tokens: tuple[str, ...]) -> Iterator[str]:
    """What stands between user tokens: they are matched before anything is merged."""
    longest_first = sorted(user_tokens, key=len, reverse=True)
    either = re.compile("|".join(map(re.escape, longest_first))) if user_tokens else None
    for text in texts:
        yield from (part for part in either.split(text) if part) if either else [text]


def _refused(piece: str, split: Any, unwanted: Callable[[str], bool]) -> bool:
    """Whether a piece is unwanted, or would be split if it stood alone (blanks before a line end can be such)."""
    text = (unsigned(piece) or b"").decode(errors="ignore")
    return unwanted(text) or len(split.pre_tokenize_str(text)) > 1


def _with_characters(merges: list[bpe.Merge], characters: str, room: int) -> list[bpe.Merge]:
    """`room` merges: the first ones, and in the last places what makes each of `characters` one piece."""
    count = min(room, len(merges))
    while True:
        ranks = bpe.ranked(merges[:count])
        added = [merge for c in characters for merge in bpe.chain(signs(c.encode()), ranks)]
        if count + len(added) <= room:
            return [*merges[:count], *added]
        count -= count + len(added) - room
