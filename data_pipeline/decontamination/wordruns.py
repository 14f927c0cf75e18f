"""Runs of words of many texts at once: their hashes, and where in which text they stand.

A word is what white space separates, or one character of a script without spaces. Punctuation is passed over, also
within a word, as EleutherAI's decontamination does (lm-evaluation-harness, decontamination/janitor.py): no quotation
mark of another shape hides anything, and `3*7=21` or `a[i]` are no more than a word each. Signs of mathematics and
currency are no punctuation: `x = 1` has three words. Each character counts as
its simplest form (case, width and accents aside) without moving any other, so that places are those of the text. All
of it is array arithmetic: an interpreted loop over words would take several times as long.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from data_pipeline import shingles
from data_pipeline.operators.words import UNSPACED

_SPACE, _INSIDE, _ALONE, _PASSED_OVER = range(4)  # what a character is to words
_CODES = 0x110000
_SEPARATOR = "\n"
# A word's hash is that of its characters' values v: sum of v[i] * BASE**i modulo 2**64. BASE is odd, so it has an
# inverse; BASE - 1 is twice an odd number, so that words of the same letters in another order differ.
_BASE = np.uint64(0x9E3779B97F4A7C13)
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")


@dataclass(frozen=True)
class Words:
    """The words of some texts, in order."""

    hashes: np.ndarray  # uint64 [words]
    text: np.ndarray  # int64 [words]: number of the text that each stands in
    start: np.ndarray  # int64 [words]: its first character in that text
    end: np.ndarray  # int64 [words]: past its last one
    unspaced: np.ndarray  # bool [words]: whether it is a character of a script without spaces
    number: np.ndarray  # bool [words]: whether it has no letter


def words_of(texts: Sequence[str]) -> Words:
    """The words of `texts`, of which a few million characters fit into memory at once."""
    joined = _SEPARATOR.join(texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    tables = _tables()
    kinds = tables.kind[codes]
    places = np.flatnonzero(kinds != _PASSED_OVER)
    codes, kinds = codes[places], kinds[places]
    inside, alone = kinds == _INSIDE, kinds == _ALONE
    edges = np.diff(inside.astype(np.int8), prepend=0, append=0)
    starts = np.flatnonzero((edges[:-1] == 1) | alone)
    ends = np.flatnonzero((edges[1:] == -1) | alone) + 1
    hashes = _word_hashes(codes, starts, ends)
    unspaced = alone[starts]
    letters = np.concatenate([[0], np.cumsum(tables.letter[codes])])
    number = letters[starts] == letters[ends]
    starts, ends = places[starts], places[ends - 1] + 1
    lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + len(_SEPARATOR)
    begins = np.cumsum(lengths) - lengths
    text = np.repeat(np.arange(len(texts)), np.diff(np.searchsorted(starts, begins), append=len(starts)))
    return Words(hashes, text, starts - begins[text], ends - begins[text], unspaced, number)


def _word_hashes(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    powers, inverses = _powers(1 << max(16, len(codes).bit_length()))
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(_tables().value[codes] * powers[: len(codes)], out=sums[1:])
    hashes = (sums[ends] - sums[starts]) * inverses[starts]
    return hashes ^ hashes >> np.uint64(32)


@cache
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The powers of BASE and of its inverse, from 0 to count - 1."""
    powers, inverses = (np.full(count, base) for base in (_BASE, _INVERSE))
    powers[0] = inverses[0] = 1
    return np.cumprod(powers), np.cumprod(inverses)


@dataclass(frozen=True)
class _Tables:
    """By code point: what it is to words, its value in their hashes, and whether it is a letter."""

    kind: np.ndarray
    value: np.ndarray
    letter: np.ndarray


@cache
def _tables() -> _Tables:
    characters = "".join(map(chr, range(_CODES)))
    kind = np.full(_CODES, _PASSED_OVER, np.uint8)
    for pattern, what in ((r"\s+", _SPACE), (r"\w+", _INSIDE), (f"[{UNSPACED}]+", _ALONE)):
        for match in re.finditer(pattern, characters):
            kind[match.start() : match.end()] = what
    for code in np.flatnonzero(kind[:0x20000] == _PASSED_OVER).tolist():  # there are no signs beyond
        if unicodedata.category(chr(code)) in ("Sm", "Sc"):
            kind[code] = _INSIDE
    letter = np.zeros(_CODES, bool)
    for match in re.finditer(rf"[^\W\d_]+|[{UNSPACED}]+", characters):
        letter[match.start() : match.end()] = True
    simple = np.arange(_CODES, dtype=np.uint64)
    for code in np.flatnonzero((kind == _INSIDE) | (kind == _ALONE)).tolist():
        if not unicodedata.is_normalized("NFKD", chr(code)) or chr(code).isupper():
            simple[code] = ord(_simplest(chr(code)))
    value = (simple + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(31)) * np.uint64(0x94D049BB133111EB)
    return _Tables(kind, value ^ value >> np.uint64(29), letter)


def _simplest(character: str) -> str:
    """Its compatibility form without case and accents, where that is one character; else itself."""
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", character)).casefold()
    return plain if len(plain) == 1 else character


def runs(words: Words, lengths: Sequence[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """For each of `lengths`, in order: the first words of the runs that stand in one text, and the runs' hashes."""
    for length, hashes in zip(lengths, shingles.runs_of_lengths(words.hashes, lengths), strict=True):
        first = np.flatnonzero(words.text[: len(hashes)] == words.text[length - 1 :])
        yield length, first, hashes[first]
