"""Which tokens a text can become. One that none becomes is a row of the embedding that nothing trains."""

import itertools
from collections.abc import Iterator

from maxlm.tokenizer.base import Tokenizer

_CONTINUATIONS = range(0x80, 0xC0)


def unreachable(tokenizer: Tokenizer) -> list[int]:
    """Ids whose own string does not become them: `encode(decode([i])) != [i]`, and with that no text does (bpe.py).

    Left out are special tokens, single bytes, which arbitrary bytes need, and parts of characters: see `partial`.
    """
    texts = {i: text for i, text in _texts(tokenizer).items() if text is not None}
    encoded = tokenizer.encode_batch(list(texts.values()))
    return [i for i, ids in zip(texts, encoded, strict=True) if ids != [i]]


def partial(tokenizer: Tokenizer) -> dict[int, str | None]:
    """Ids that stand for parts of characters, each with a text that becomes it among others.

    None: no such text was found. Then all characters that begin or end so have tokens of their own, and the id is but
    the merge by which they come about.
    """
    return {i: _witness(tokenizer, i) for i, text in _texts(tokenizer).items() if text is None}


def _texts(tokenizer: Tokenizer) -> dict[int, str | None]:
    """The strings of all ids in question; None for what is no whole characters."""
    left_out = {*tokenizer.special.values(), *tokenizer.byte_ids}
    return {i: _whole(raw) for i, raw in enumerate(tokenizer.pieces()) if raw and i not in left_out}


def _whole(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _witness(tokenizer: Tokenizer, i: int) -> str | None:
    raw = tokenizer.decode_bytes([i])
    texts = [text for around in _completions(raw) if (text := _whole(around)) is not None]
    found = zip(texts, tokenizer.encode_batch(texts), strict=True)
    return next((text for text, ids in found if i in ids), None)


def _completions(raw: bytes) -> Iterator[bytes]:
    """`raw` with what characters may begin with before it, and may end with behind it; not all of that is UTF-8."""
    begun = len(raw) - len(raw.lstrip(bytes(_CONTINUATIONS)))
    heads = {0: [b""], 1: [b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x98"], 2: [b"\xe4", b"\xf0\x9f"], 3: [b"\xf0"]}[
        min(begun, 3)
    ]
    middles = [b"", *[bytes([byte]) for byte in range(0x80, 0xC0, 8)]]
    ends = [b"", *[middle + bytes([last]) for middle in middles for last in _CONTINUATIONS]]
    return (head + raw + end for head, end in itertools.product(heads, ends))
