"""More tokens for a tokenizer that models were trained with: old ids stay, and every old token can still be produced.

New tokens take the spare slots first; where these don't suffice, rows are added in whole tiles of 128.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from maxlm.errors import ConfigError
from maxlm.tokenizer import bpe, huggingface
from maxlm.tokenizer.base import Tokenizer, padded_rows
from maxlm.tokenizer.bytelevel import ByteLevelTokenizer, unsigned
from maxlm.tokenizer.reach import unreachable
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.spm_proto import SPACE_MARK, Model

# merge: made by merges that rank after all others, so that no old token is hidden; it comes about where the pieces of
# before happen to begin and end with it. always: one token wherever the string stands. special: no text becomes it.
Way = Literal["merge", "always", "special"]


@dataclass(frozen=True)
class Extension:
    """A tokenizer with more tokens.

    Attributes:
      tokenizer: the new one; its digest is another.
      added: id -> string of what is new: the tokens, and those that they are merged from on the way.
      replaces: id -> the ids that stood for its string before; none for special tokens.
      already: strings that were one token before.
    """

    tokenizer: Tokenizer
    added: dict[int, str]
    replaces: dict[int, list[int]]
    already: list[str]


def extend(old: Tokenizer, tokens: Sequence[str], way: Way = "merge") -> Extension:
    """Adds `tokens` to a tokenizer.

    Raises:
      ConfigError: a string that can't be such a token, or one that would hide an old token; the message says which.
    """
    already = [token for token in tokens if token in old.special or (way == "merge" and _is_one(old, token))]
    already += [token for token in tokens if way == "always" and token in old.user_tokens]
    pieces = set(old.pieces())
    wanted = sorted({*tokens} - {*already}, key=lambda token: (len(token), token))
    for token in wanted:
        body = token.removeprefix(" ") if way == "merge" else token  # a word with the space before it
        if not body or body != body.strip() or "\u2581" in token or "\u2585" in token:
            raise ConfigError(f"token {token!r}: empty, with blanks around it, or with U+2581 or U+2585 in it")
        if way == "merge" and any(user in token for user in old.user_tokens):
            raise ConfigError(
                f"token {token!r} can't be made by merges: a user token stands within it; add it as always"
            )
        if way != "merge" and token.encode() in pieces:
            raise ConfigError(f"token {token!r} is one already, made by merges; leave it out, or train anew with it")
    new, strings = _of_kind(old)(old, wanted, way) if wanted else (old, [])
    added = dict(enumerate(strings, start=old.num_pieces))
    _check(old, new, added)
    replaces = {i: [] if way == "special" else old.encode_bytes(new.decode_bytes([i])) for i in added}
    return Extension(new, added, replaces, already)


def extension_of(old: Tokenizer, new: Tokenizer) -> Extension:
    """What `new` has that `old` lacks, whoever added it.

    Raises:
      ConfigError: an old id stands for something else in `new`, which has fewer rows, or nothing more.
    """
    before, after = list(old.pieces()), list(new.pieces())
    names = {i: name for name, i in old.special.items()}
    new_names = {i: name for name, i in new.special.items()}
    for i, piece in enumerate(before):
        if i >= len(after) or piece != after[i] or names.get(i) != new_names.get(i):
            there = repr(new_names.get(i, after[i])) if i < len(after) else "nothing"
            raise ConfigError(
                f"this tokenizer does not extend the other: id {i} stood for {names.get(i, piece)!r} and stands for "
                f"{there}; maxlm-data tokenizer --extend keeps old ids"
            )
    if new.vocab_size < old.vocab_size:
        raise ConfigError(
            f"this tokenizer has {new.vocab_size} rows, fewer than the {old.vocab_size} of the one that it extends"
        )
    ids = range(old.num_pieces, new.num_pieces)
    replaces = {i: [] if i in new_names else old.encode_bytes(after[i]) for i in ids}
    added = {i: new_names.get(i) or after[i].decode(errors="replace") for i in ids}
    return Extension(new, added, replaces, [])


def extended_table(table: np.ndarray, extension: Extension) -> np.ndarray:
    """A matrix of embeddings or outputs, `[rows, embed]`, for the extended tokenizer: `[vocab_size, embed]`, same type.

    The row of a new token is the mean of the rows of the ids that it replaces, of a special token the mean of all rows
    that have a piece (Hewitt 2021, "Initializing new word embeddings for pretrained language models"). Rows that are
    added without a piece are that mean too, so that none stands out; all others are what they were, to the bit.

    Raises:
      ConfigError: the table has other rows than the tokenizer before.
    """
    replaces, rows = extension.replaces, extension.tokenizer.vocab_size
    first = min(replaces, default=extension.tokenizer.num_pieces)
    if not first <= len(table) <= rows:
        raise ConfigError(f"a table of {len(table)} rows is not of the tokenizer that was extended: {first} to {rows}")
    mean = table[:first].mean(axis=0, dtype=np.float64)
    tail = np.broadcast_to(mean, (rows - len(table), table.shape[1]))
    made = np.concatenate([table, tail.astype(table.dtype)])
    for i, ids in replaces.items():
        made[i] = table[ids].mean(axis=0, dtype=np.float64) if ids else mean
    return made


def _is_one(tokenizer: Tokenizer, token: str) -> bool:
    return len(tokenizer.encode(token)) == 1


def _of_kind(old: Tokenizer) -> Any:
    if isinstance(old, SentencePieceTokenizer):
        return _extend_sentencepiece
    assert isinstance(old, ByteLevelTokenizer)
    return _extend_bytelevel


def _rows(old: Tokenizer, added: int) -> int:
    return max(old.vocab_size, padded_rows(old.num_pieces + added))


def _extend_sentencepiece(old: SentencePieceTokenizer, tokens: Sequence[str], way: Way) -> tuple[Tokenizer, list[str]]:
    model = Model(old.model)
    pieces = [token.replace(" ", SPACE_MARK) for token in tokens]
    if way == "merge":
        if not model.is_plain():
            raise ConfigError("this SentencePiece model rewrites texts, or is no BPE: add tokens as always or special")
        there, ranks = {piece for piece, _ in model.pieces}, bpe.ranked(model.merges())
        # A character without a piece falls to bytes, which are never merged, so it needs one first.
        singles = dict.fromkeys(c for piece in pieces for c in piece if c not in there)
        merged = [left + right for piece in pieces for left, right in bpe.chain(piece, ranks)]
        pieces = [*singles, *merged]
    raw = model.extended(**{way: pieces})
    new = SentencePieceTokenizer(raw, _rows(old, len(pieces)), where="the extended model")
    return new, [piece.replace(SPACE_MARK, " ") for piece in pieces]


def _extend_bytelevel(old: ByteLevelTokenizer, tokens: Sequence[str], way: Way) -> tuple[Tokenizer, list[str]]:
    files = old.files()
    data, described = (json.loads(files[name]) for name in (huggingface.TOKENIZER_FILE, huggingface.SETTINGS_FILE))
    strings, pieces = list(tokens), list(tokens)
    if way == "merge":
        merges = _byte_merges(old, tokens)
        pieces = [left + right for left, right in merges]
        strings = [(unsigned(piece) or b"").decode(errors="replace") for piece in pieces]
        data["model"]["merges"] = [*map(list, [*old.merges(), *merges])]
    ids = {piece: i for i, piece in enumerate(pieces, start=old.num_pieces)}
    data["model"]["vocab"] |= ids
    if way == "always":
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
        data["added_tokens"] += [{"id": i, "content": piece, **flags} for piece, i in ids.items()]
    if way == "special":
        described["additional_special_tokens"] = [*huggingface.special_of(described)[3:], *pieces]
    model, settings = (json.dumps(values, indent=2, ensure_ascii=False).encode() for values in (data, described))
    return ByteLevelTokenizer(model, settings, _rows(old, len(pieces)), where="the extended model"), strings


def _byte_merges(old: ByteLevelTokenizer, tokens: Sequence[str]) -> list[bpe.Merge]:
    """The merges that make each token, what is shared made once."""
    ranks, found = bpe.ranked(old.merges()), []
    for token in tokens:
        parts = old.parts(token)
        if len(parts) > 1:
            raise ConfigError(
                f"token {token!r}: texts are split within it before anything is merged, so merges can't make it; "
                "add it as always"
            )
        found += bpe.chain(parts[0], ranks)
    return found


def _check(old: Tokenizer, new: Tokenizer, added: dict[int, str]) -> None:
    """Raises ConfigError where an old token can't be produced any more, or a new one can't be."""
    dead = sorted({*unreachable(new)} - {*unreachable(old)})
    if failed := [i for i in dead if i in added]:
        raise ConfigError(f"token {added[failed[0]]!r} can't be produced: a user token stands within it")
    if dead:
        hidden = [new.decode([i]) for i in dead]
        by = next((text for text in added.values() if text in hidden[0]), "")
        raise ConfigError(
            f"token {by!r} would hide {len(hidden)} that are there, {', '.join(map(repr, hidden[:5]))}: their string "
            "would be split at it; add it as merge"
        )
