"""Texts folded to what counts when they are compared: words joined by single spaces, as one string.

The same words as shingles.normal_words gives, several times faster. Texts are taken many at a time: Unicode's business
is done text by text, and white space and ASCII capitals in one pass over the bytes of all of them. A text in a script
without spaces is folded as an array of code points, unless it holds what no table by the character can normalise
(combining marks, say).
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.operators.words import UNSPACED
from data_pipeline.shingles import normal_words

_TABLED = 0x20000  # code points that the tables cover: beyond lie rare Han characters
_LAST_HAN = 0x3FFFF
_SPACE = 0x20
_BLOCK_CHARACTERS = 500_000
_UNSAFE, _WORD, _BLANK, _ALONE = range(4)
# Below Thai there is no script without spaces; from U+2000 on stand quotation marks and dashes. NFKC makes nothing
# else out of them.
_MAYBE_UNSPACED = r"[^\x{0}-\x{dff}\x{2000}-\x{206f}]"
_RARE_BLANKS = "\x85\u1680\u2028\u2029"  # white space beyond ASCII that NFKC leaves as it is
_ASCII = bytes(_SPACE if chr(i).isspace() else ord(chr(i).lower()) for i in range(128)) + bytes(range(128, 256))


class Folded(NamedTuple):
    """Folded texts, and how long they are."""

    texts: pa.LargeStringArray
    words: np.ndarray  # int64 [texts]
    unspaced: np.ndarray  # int64 [texts]: characters of scripts without spaces


def fold(texts: Sequence[str]) -> Folded:
    """The normal words of each text (shingles.normal_words), joined by single spaces."""
    prepared, unspaced = list(texts), np.zeros(len(texts), np.int64)
    beyond = [i for i, text in enumerate(texts) if not text.isascii()]
    array = pa.array([texts[i] for i in beyond], pa.large_string())
    found = pc.call_function("match_substring_regex", [array], pc.MatchSubstringOptions(_MAYBE_UNSPACED))
    maybe = [i for i, here in zip(beyond, found.to_pylist(), strict=True) if here]
    for i in set(beyond).difference(maybe):
        prepared[i] = _in_lower_case(texts[i])
    for some in _blocks(maybe, texts):
        for i, (text, count) in zip(some, _fold_unspaced([texts[i] for i in some]), strict=True):
            prepared[i], unspaced[i] = text, count
    return _joined([text.strip().encode() for text in prepared], unspaced)


def _in_lower_case(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower()
    for blank in _RARE_BLANKS:
        if blank in text:
            text = text.replace(blank, " ")
    return text


def _blocks(rows: Sequence[int], texts: Sequence[str]) -> Iterator[list[int]]:
    """`rows` in parts of not many characters, since the arrays of one take fifty bytes for each."""
    block, size = [], 0
    for row in rows:
        block.append(row)
        size += len(texts[row])
        if size >= _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _joined(prepared: list[bytes], unspaced: np.ndarray) -> Folded:
    """Texts that neither begin nor end with white space, in lower case but for ASCII, with single spaces."""
    data = np.frombuffer(b"".join(prepared).translate(_ASCII), np.uint8)
    bounds = np.cumsum([0, *map(len, prepared)])
    spaces = data == _SPACE
    again = np.flatnonzero(spaces[1:] & spaces[:-1]) + 1
    if len(again):
        data, spaces = np.delete(data, again), np.delete(spaces, again)
        bounds -= np.searchsorted(again, bounds)
    before = np.searchsorted(np.flatnonzero(spaces), bounds)
    words = np.diff(before) + (np.diff(bounds) > 0)
    texts = pa.LargeStringArray.from_buffers(len(prepared), pa.py_buffer(bounds), pa.py_buffer(data))
    return Folded(texts, words, unspaced)


def digests(folded: pa.LargeStringArray) -> list[bytes]:
    """For each folded text 16 bytes that only exact duplicates share."""
    _, bounds, data = folded.buffers()
    data = memoryview(data or b"")
    ends = np.frombuffer(bounds, np.int64)[folded.offset : folded.offset + len(folded) + 1].tolist()
    return [hashlib.blake2b(data[a:b], digest_size=16).digest() for a, b in pairwise(ends)]


def _count_unspaced(folded: str) -> int:
    kinds, points = _tables()[0], _code_points(folded)
    rare = (points >= _TABLED) & (points <= _LAST_HAN)
    return int((kinds[np.minimum(points, _TABLED)] == _ALONE).sum() + rare.sum())


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _fold_unspaced(texts: list[str]) -> list[tuple[str, int]]:
    """Folded texts, and how many characters of each are of scripts without spaces."""
    kinds, folded = _tables()
    texts = [text.replace("…", "...") for text in texts]  # what NFKC makes of the commonest that no table holds
    points = _code_points("".join(texts))
    bounds = np.cumsum([0, *map(len, texts)])
    kind = kinds[np.minimum(points, _TABLED)]
    untabled = np.unique(np.searchsorted(bounds, np.flatnonzero(kind == _UNSAFE), side="right") - 1)
    rows = np.flatnonzero(kind != _BLANK)
    starts = np.searchsorted(rows, bounds)
    points, alone = folded[np.minimum(points[rows], _TABLED)], kind[rows] == _ALONE
    # A word begins at a character that stands alone, after one, and after white space.
    begins = alone.copy()
    begins[1:] |= alone[:-1] | (np.diff(rows) > 1)
    begins[starts[starts < len(rows)]] = False
    places = np.arange(len(rows)) + np.cumsum(begins)
    out = np.full(places[-1] + 1 if len(rows) else 0, _SPACE, np.uint32)
    out[places] = points
    whole = out.tobytes().decode("utf-32-le")
    ends = np.append(places, len(out))[starts].tolist()
    counts = np.diff(np.concatenate([[0], np.cumsum(alone)])[starts]).tolist()
    made = [(whole[a:b], count) for (a, b), count in zip(pairwise(ends), counts, strict=True)]
    for i in untabled.tolist():
        slowly = " ".join(normal_words(texts[i]))
        made[i] = slowly, _count_unspaced(slowly)
    return made


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each code point its kind, and the one that it folds to."""
    kinds = np.full(_TABLED + 1, _UNSAFE, np.uint8)  # the last one stands for all code points beyond
    folded = np.arange(_TABLED + 1, dtype=np.uint32)
    # Between lie surrogates and private characters, and the rarer planes of historic scripts.
    points = [*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, _TABLED)]
    # A line feed between two characters keeps them from acting upon each other; Σ is lowered by what is around it.
    normal = unicodedata.normalize("NFKC", "\n".join(map(chr, points))).replace("\n\n\n", "\n \n")
    lowered = "\n" + normal.replace("Σ", "ΣΣ").lower() + "\n"
    each = _code_points(lowered)
    ends = np.flatnonzero(each == 0x0A)
    single = np.flatnonzero(np.diff(ends) == 2)
    values = each[ends[single] + 1]
    # What is several characters now, or may join the one before it, is folded with what stands around it.
    alone = ~np.isin(values, list(_joining()))
    rows, values = np.array(points)[single[alone]], values[alone]
    folded[rows] = values
    kinds[rows] = _WORD
    every = values.tobytes().decode("utf-32-le")
    for kind, which in ((_BLANK, r"\s"), (_ALONE, f"[{UNSPACED}]")):
        kinds[rows[[match.start() for match in re.finditer(which, every)]]] = kind
    return kinds, folded


def _joining() -> set[int]:
    """Characters that normalisation may join to the one before them (NFC_Quick_Check "maybe", UAX 15), or reorder.

    Of the first plane: the tables leave out the others whose characters do.
    """
    jamo = {*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    combining = {point for point in range(0x10000) if unicodedata.combining(chr(point))}
    pairs = (decomposed.split() for point in range(0x10000) if (decomposed := unicodedata.decomposition(chr(point))))
    return jamo | combining | {int(pair[1], 16) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"}
