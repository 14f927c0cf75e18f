"""Files that are code by name only: generated, minified, encoded, or data.

Sources: Chen et al. 2021 (Codex), arXiv 2107.03374, section 3.1; Li et al. 2023 (StarCoder), arXiv 2305.06161,
section 3; Lozhkov et al. 2024 (The Stack v2), arXiv 2402.19173, section 2 and appendix A; GitHub's linguist,
lib/linguist/generated.rb. Line lengths are `line_length`'s.
"""

import json
import re
import string
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.licence import patterns

_LETTERS = string.ascii_letters.encode()
_LETTERS_AND_DIGITS = _LETTERS + string.digits.encode()


@dataclass(frozen=True)
class CodeCharacters(Filter):
    """Drops files with few letters, or few letters and digits: tables, drawings, encoded data.

    Limits by default: The Stack v2 (a quarter of the characters are letters). Letters and digits are Codex's rule; its
    limit is not published. Characters beyond ASCII count as letters.
    """

    min_letters: float = 0.25
    min_alphanumeric: float = 0.25

    def check(self, draft: Draft) -> Finding | None:
        total = len(draft.text)
        if not total:
            return None
        raw = draft.of(str.encode)
        beyond = 0 if len(raw) == total else total - len(raw.translate(None, bytes(range(128, 256))))
        letters = (len(raw) - len(raw.translate(None, _LETTERS)) + beyond) / total
        if letters < self.min_letters:
            return Finding("too_few_letters", letters)
        alphanumeric = (len(raw) - len(raw.translate(None, _LETTERS_AND_DIGITS)) + beyond) / total
        return Finding("too_few_alphanumeric", alphanumeric) if alphanumeric < self.min_alphanumeric else None


_COMMENT = r"^[ \t]*(?:#|//|/?\*|--|;|%|<!--|\(\*|\{-|\"\"\"|'''|'|!|@|dnl |rem |\.\\\")"


@cache
def _generated() -> Any:
    return re2.compile(rf"(?im){_COMMENT}.*(?:{'|'.join(patterns('generated'))})")


@dataclass(frozen=True)
class GeneratedFile(Filter):
    """Drops files that say in a comment near their beginning that a program made them ("do not edit").

    Codex and The Stack v2 leave them out; the words are those of linguist, looked for in the first `head_lines`.
    """

    head_lines: int = 40

    def check(self, draft: Draft) -> Finding | None:
        head = "\n".join(draft.text[: self.head_lines * 200].split("\n", self.head_lines)[: self.head_lines])
        if found := _generated().search(head):
            return Finding("generated", None, *found.span())
        return None


_LONG_LINE = 200  # characters


@dataclass(frozen=True)
class MinifiedFile(Filter):
    """Drops files that mostly stand in long lines with hardly any white space in them.

    linguist takes JavaScript and CSS for minified where lines average more than 110 characters; long lines of prose, as
    in comments and strings, are told from them here by their spaces.
    """

    max_mean: float = 110.0  # characters to a line
    min_space: float = 0.1  # of the characters in long lines; people's code and prose have some 0.15

    def check(self, draft: Draft) -> Finding | None:
        text = draft.text
        mean = len(text) / (text.count("\n") + 1)
        if mean <= self.max_mean:
            return None
        long = [line for line in text.split("\n") if len(line) >= _LONG_LINE]
        if 2 * sum(map(len, long)) < len(text):
            return None
        space = sum(line.count(" ") + line.count("\t") for line in long) / sum(map(len, long))
        if space >= self.min_space or not "".join(long[:1]).isascii():
            return None
        start = text.index(long[0])
        return Finding("minified", mean, start, start + len(long[0]))


_ENCODED = (
    ("base64", re2.compile(r"[a-zA-Z0-9+/\n=]{64,}")),
    ("hexadecimal", re2.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}")),
    ("unicode_escapes", re2.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")),
)


@dataclass(frozen=True)
class EncodedData(Filter):
    """Drops files with long runs of base64, hexadecimal numbers or Unicode escapes, or that mostly consist of them.

    Patterns and limits: The Stack v2, appendix A: a run of more than 1024 characters, or more than half of the file.
    """

    max_longest: int = 1024  # characters
    max_share: float = 0.5

    def check(self, draft: Draft) -> Finding | None:
        raw = draft.of(str.encode)
        covered = 0
        for kind, pattern in _ENCODED:
            for match in pattern.finditer(raw):
                length = match.end() - match.start()  # of ASCII: bytes are characters
                covered += length
                if length > self.max_longest:
                    start = len(raw[: match.start()].decode())
                    return Finding(f"long_{kind}", length, start, start + length)
        share = covered / len(draft.text) if draft.text else 0.0
        return Finding("mostly_encoded", share) if share > self.max_share else None


_NUMBERS = re2.compile(r"(?m)^[ \t]*[-+\[({]*(?:0x)?\d[0-9a-fA-F \t.,;:|+\-xXeE\])}]*$")
_MIN_LINES = 20
_MAX_DATA_LINES = 0.8


@dataclass(frozen=True)
class DataFile(Filter):
    """Drops data in a source file's clothes: XML, long JSON, columns of numbers, separated values.

    StarCoder drops files with `<?xml version=` in the first 100 characters and JSON of more than 5,000; what columns
    are is a rule of our own: four fifths of at least twenty lines.
    """

    max_json: int = 5000  # characters

    def check(self, draft: Draft) -> Finding | None:
        text = draft.text
        if (start := text[:100].find("<?xml version=")) >= 0:
            return Finding("xml", None, start, start + len("<?xml version="))
        if len(text) > self.max_json and _is_json(text):
            return Finding("json", len(text))
        lines = text.count("\n") + 1
        if lines < _MIN_LINES:
            return None
        numbers = sum(1 for _ in _NUMBERS.finditer(draft.of(str.encode))) / lines
        if numbers > _MAX_DATA_LINES:
            return Finding("numbers", numbers)
        return Finding("separated_values") if _is_separated(text) else None


def _is_json(text: str) -> bool:
    # An object or a list of what JSON can hold; no program begins so.
    if not re.match(r"\s*(?:\{\s*\"|\[\s*[\[{\"\d\-])", text):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_separated(text: str) -> bool:
    """Whether nearly all lines have equally many of one separator, and none of what statements have."""
    head = text[:20_000].split("\n")[:200]
    lines = [line for line in head[:-1] if line.strip()]
    if len(lines) < _MIN_LINES or re.search(r"[(){};=]", "".join(lines[:_MIN_LINES])):
        return False
    for separator in ("\t", ",", "|"):
        number, times = Counter(line.strip().count(separator) for line in lines).most_common(1)[0]
        if number >= 2 and times > _MAX_DATA_LINES * len(lines):
            return True
    return False
