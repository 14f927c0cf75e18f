"""A text as the patterns see it: one byte a character, so that an offset in one is the offset in the other.

ASCII stays. Full-width signs become the ASCII they are drawn after, the many spaces and dashes of Unicode become the
plain ones, so a number is found however it was typed. What is left is a letter of a script that puts spaces between
words (it continues a word), or anything else: Chinese, Japanese or Korean, where a number may begin and end at once.

Patterns run on google-re2, whose time is linear in the text: no input can stall it. RE2 has no look-around, so what
may not stand before and after a match is checked in code.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import re2

Span = tuple[int, int]  # of characters, end excluded

LETTER, OTHER = 0xE1, 0xFF
WORD = rb"0-9A-Za-z_\xe1"  # for use in a class of a pattern

_SPACES = "\u00a0\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63"
_WORD_BYTES = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_" + bytes([LETTER]))


@dataclass(frozen=True, slots=True)
class View:
    """A text and its bytes, one a character."""

    text: str
    raw: bytes

    def word_at(self, at: int) -> bool:
        """Whether a letter, digit or underscore stands there; not beyond either end."""
        return 0 <= at < len(self.raw) and self.raw[at] in _WORD_BYTES

    def digit_at(self, at: int) -> bool:
        return 0 <= at < len(self.raw) and 48 <= self.raw[at] <= 57

    def byte_at(self, at: int) -> bytes:
        """The byte there, or none beyond either end."""
        return self.raw[at : at + 1] if at >= 0 else b""

    def before(self, at: int, characters: int) -> str:
        """At most so many characters of the text before a place, of the same line."""
        return self.text[max(0, at - characters) : at].rpartition("\n")[2]


def view_of(text: str) -> View:
    """The view of a text, in one pass."""
    if text.isascii():
        return View(text, text.encode())
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return View(text, _table()[np.minimum(codes, 0xFFFF)].tobytes())


@cache
def _table() -> np.ndarray:
    """The byte of each character of the basic plane; U+FFFF, which no text holds, stands for those beyond."""
    table = np.full(0x10000, OTHER, np.uint8)
    table[:0x80] = np.arange(0x80)
    for code in (*range(0x80, 0x0E00), *range(0x1E00, 0x2000)):
        if chr(code).isalnum():
            table[code] = LETTER
    table[0xFF01:0xFF5F] = np.arange(0x21, 0x7F)
    table[[ord(sign) for sign in _SPACES]] = ord(" ")
    table[[ord(sign) for sign in _DASHES]] = ord("-")
    return table


def pattern(source: bytes, longest: bool = False) -> Any:
    """A pattern over the bytes of a view; of several alternatives the first that fits, or the longest."""
    options = re2.Options()
    options.longest_match = longest
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(source, options)


_DIGITS = pattern(rb"\(?\+?[0-9]*")


def numbers(compiled: Any, view: View, judge: Callable[[View, int, int], Span | None]) -> Iterator[Span]:
    """The spans that `judge` makes of matches; after one that is nothing, the search goes on behind its first digits.

    What is nothing as a whole may have begun too early: `2024 +86 138 1234 5678`.
    """
    at, end = 0, len(view.raw)
    while at < end and (match := compiled.search(view.raw, at)) is not None:
        span = judge(view, match.start(), match.end())
        if span is None:
            at = max(_DIGITS.match(view.raw, match.start()).end(), match.start() + 1)
        else:
            yield span
            at = span[1]
