"""Texts folded to what counts when they are compared: words joined by single spaces, as one string.

The same words as shingles.normal_words gives, several times faster on scripts without spaces: there the text is folded
as an array of code points, unless it holds what no table by the character can normalise (combining marks, say).
"""

import hashlib
import re
import unicodedata
from functools import cache

import numpy as np

from data_pipeline.operators.words import split_words
from data_pipeline.shingles import normal_words

_TABLED = 0x20000  # code points that the tables cover: beyond lie rare Han characters
_LAST_HAN = 0x3FFFF
_SPACE = 0x20
_UNSAFE, _WORD, _BLANK, _ALONE = range(4)
# Below Thai there is no script without spaces; from U+2000 on stand quotation marks and dashes.
_MAYBE_UNSPACED = re.compile(r"[^\u0000-\u0dff\u2000-\u206f]")


def fold(text: str) -> str:
    """The normal words of a text (shingles.normal_words), joined by single spaces."""
    if not text.isascii():
        if not _has_unspaced(text):
            text = unicodedata.normalize("NFKC", text)
        if _has_unspaced(text):
            return _fold_unspaced(text)
    return " ".join(text.lower().split())


def digest(folded: str) -> bytes:
    """16 bytes that only exact duplicates share."""
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def count_words(folded: str) -> int:
    """The number of words in a folded text."""
    return folded.count(" ") + 1 if folded else 0


def count_unspaced(folded: str) -> int:
    """The characters of scripts without spaces in a folded text."""
    if folded.isascii() or not _has_unspaced(folded):
        return 0
    kinds = _tables()[0]
    points = _code_points(folded)
    rare = (points >= _TABLED) & (points <= _LAST_HAN)
    return int((kinds[np.where(points < _TABLED, points, 0)] == _ALONE).sum() + rare.sum())


def _has_unspaced(text: str) -> bool:
    """Whether the text may hold characters of a script without spaces; quick, and at times wrongly yes."""
    return _MAYBE_UNSPACED.search(text) is not None


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _fold_unspaced(text: str) -> str:
    points = _code_points(text)
    kinds, folded = _tables()
    if points.max() >= _TABLED:
        return " ".join(normal_words(text))
    kind = kinds[points]
    if not kind.all():  # _UNSAFE is 0
        return " ".join(normal_words(text))
    kept = kind != _BLANK
    points, kind = folded[points[kept]], kind[kept]
    if not len(points):
        return ""
    # A word begins at a character that stands alone, after one, and after white space.
    begins = kind == _ALONE
    begins[1:] |= kind[:-1] == _ALONE
    begins |= np.diff(np.flatnonzero(kept), prepend=-2) > 1
    begins[0] = False
    places = np.arange(len(points)) + np.cumsum(begins)
    out = np.full(places[-1] + 1, _SPACE, np.uint32)
    out[places] = points
    return out.tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each code point its kind, and the one that it folds to."""
    kinds = np.full(_TABLED, _UNSAFE, np.uint8)
    folded = np.arange(_TABLED, dtype=np.uint32)
    seconds = _second_of_compositions()
    # Between lie surrogates and private characters, and the rarer planes of historic scripts.
    for point in (*range(0xD800), *range(0xE000, 0x10000), *range(0x1F000, _TABLED)):
        char = chr(point)
        normal = unicodedata.normalize("NFKC", char)
        normal = "" if normal == "Σ" else normal.lower()  # Σ is lowered by what stands around it
        if len(normal) != 1 or unicodedata.combining(normal) or normal in seconds:
            continue  # several characters, or one that may join the one before it
        folded[point] = ord(normal)
        if normal.isspace():
            kinds[point] = _BLANK
        else:
            kinds[point] = _ALONE if _stands_alone(normal) else _WORD
    return kinds, folded


def _stands_alone(char: str) -> bool:
    return len(split_words(f"a{char}a")) == 3


def _second_of_compositions() -> frozenset[str]:
    """Characters that normalisation may join to the one before them (NFC_Quick_Check "maybe", UAX 15)."""
    jamo = {chr(point) for point in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    pairs = (unicodedata.decomposition(chr(point)).split() for point in range(0x30000))
    return frozenset(jamo | {chr(int(pair[1], 16)) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"})
