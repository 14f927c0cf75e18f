"""Random strings and bytes, and whether they come back from a tokenizer as they were."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from maxlm.errors import DataError
from maxlm.tokenizer.base import Tokenizer

_BATCH = 2000
# What tokenizers are known to stumble over: blanks, signs of their own, joiners, marks without a base, right-to-left
# text, noncharacters, both neighbours of the surrogates, names of their own tokens.
TRAPS = (
    *" \t\n\r\v\f\0\x1b\x7f\x80\x85\xa0\xad\u2581\u2585\u3000\ufeff\u200b\u200d\u2028\u2029\u202e\ufffd\ufffe\uffff",
    *"\ud7ff\ue000\U0001ffff\U0010ffff\u0301\u0f71\u1160\u05d0\u0627\ufe0f\u20e3\U0001f1e8\U0001f1f3\U0001f469\U0001f3fd",
    *"aZé中犇\U0002000009٣½.,'\"<>|&/\\_",
    *("\r\n", "  ", "    ", "\t\t", "\n\n", "<s>", "</s>", "<pad>", "<unk>", "<0x41>", "<|im_start|>", "<|im_end|>"),
    *(
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "e\u0301",
        "中华人民共和国",
        " the",
        "ing",
        "'ll",
        "2024",
        "http://",
    ),
)
_RANGES = ((0, 0x7F), (0, 0x7FF), (0x4E00, 0x9FFF), (0, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))


def random_texts(seed: int) -> Iterator[str]:
    """Strings without end, up to 40 code points: assigned or not, traps, and both mixed."""
    rng = random.Random(seed)
    while True:
        first, last = rng.choice(_RANGES)
        traps = rng.choice((0, 0.3, 1))
        yield "".join(
            rng.choice(TRAPS) if rng.random() < traps else _code_point(rng, first, last)
            for _ in range(rng.randrange(41))
        )


def random_bytes(seed: int) -> Iterator[bytes]:
    """Bytes without end: at random, or UTF-8 with a few of them changed, lost or doubled."""
    rng, strings = random.Random(seed), random_texts(seed)
    while True:
        if rng.random() < 0.3:
            yield rng.randbytes(rng.randrange(41))
            continue
        raw = bytearray(next(strings).encode())
        for _ in range(rng.randrange(4) if raw else 0):
            at = rng.randrange(len(raw) + 1)
            raw[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        yield bytes(raw)


def check(tokenizer: Tokenizer, count: int, seed: int = 0) -> dict[str, Any]:
    """Sends `count` strings and as many byte strings there and back; what fails is listed, up to 20 of each."""
    special = {*tokenizer.special.values(), tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id}
    sizes = tokenizer.token_bytes()
    failed: list[str] = []
    strings = islice(random_texts(seed), count)
    while batch := list(islice(strings, _BATCH)):
        for text, ids in zip(batch, tokenizer.encode_batch(batch), strict=True):
            size = int(sizes[ids].sum()) if ids else 0
            if tokenizer.decode(ids) != text or special.intersection(ids) or size != len(text.encode()):
                failed.append(text)
    raws = islice(random_bytes(seed), count)
    failed_bytes = [raw.hex() for raw in raws if tokenizer.decode_bytes(tokenizer.encode_bytes(raw)) != raw]
    return {
        "strings": count,
        "failed_strings": [ascii(text) for text in failed[:20]],
        "byte_strings": count,
        "failed_byte_strings": failed_bytes[:20],
        "takes_surrogates": _takes_surrogates(tokenizer),
    }


def differing(tokenizer: Tokenizer, form: str | bytes, texts: Sequence[str]) -> list[str]:
    """The texts that a tokenizer.json turns into other ids."""
    import tokenizers

    inner = tokenizers.Tokenizer.from_buffer(form.encode() if isinstance(form, str) else form)
    ours = tokenizer.encode_batch(texts)
    theirs = inner.encode_batch_fast(list(texts), add_special_tokens=False)
    return [text for text, ids, found in zip(texts, ours, theirs, strict=True) if ids != found.ids]


def _takes_surrogates(tokenizer: Tokenizer) -> bool:
    """Whether a lone surrogate, which is no Unicode, passes without an error."""
    try:
        tokenizer.encode("a\ud800b")
    except DataError:
        return False
    return True


def _code_point(rng: random.Random, first: int, last: int) -> str:
    while 0xD800 <= (point := rng.randint(first, last)) <= 0xDFFF:
        pass
    return chr(point)
