"""One spelling for what looks the same: Unicode forms, invisible characters, line ends, white space."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

import re2

from data_pipeline.operators.base import Draft, Edit

_LINE_END = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Soft hyphens, zero-width spaces, byte-order marks, marks of direction and of ruby. Not U+2061 to U+2064, which are
# operators of mathematics that don't show, and not variation selectors.
_ZERO_WIDTH = re.compile("[\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u206f\ufeff\ufff9-\ufffb]")
# Letters on paper in Persian and the scripts of India depend on joiners, and emoji are put together by them.
_JOINED_SCRIPTS = "\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
_PICTURES = "©®‼⁉™ℹ\u2190-\u21ff\u2300-\u2328\u232b-\u27bf\u2900-\u297f\u2b00-\u2bff〰〽㊗㊙\U0001f000-\U0001faff"
_IDLE_JOINER = re.compile(
    f"(?<![{_JOINED_SCRIPTS}])\u200c"
    f"|(?<![{_JOINED_SCRIPTS}{_PICTURES}\ufe0f])\u200d"
    f"|(?<=[{_PICTURES}\ufe0f])\u200d(?![{_PICTURES}])"
)
# Tags spell the flags of Wales and the like after a black flag. Elsewhere they are text that nobody sees.
_IDLE_TAGS = re.compile("(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+")
_REMOVED = (("control", _CONTROL), ("zero_width", _ZERO_WIDTH), ("zero_width", _IDLE_TAGS), ("joiner", _IDLE_JOINER))
# Whether there may be anything for the patterns above.
_ANY_INVISIBLE = re2.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
# What NFC would turn into CJK brackets: angle brackets of mathematics.
_KEPT_BY_NFC = re.compile("([\u2329\u232a]+)")
# What NFKC may change here: letters, digits and kana of another width, ligatures, forms of Arabic letters in print,
# radicals that stand for characters, spaces. Superscripts, fractions, ℝ, 𝑥, ①, ™ and full-width punctuation stay.
_COMPATIBLE = re.compile(
    "[\xa0\u2f00-\u2fd5\u3000\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff61-\uff9f\ufb00-\ufb06\ufb50-\ufd3d\ufd50-\ufdff"
    "\ufe70-\ufefc]+"
)
_SPACE = " \t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_EDGES = re.compile(r"\A\n+|(?<!\n)\n\n+\Z")
_ANY_SPACE = re2.compile(rf"[{_SPACE}](?:\n|\z)|\n\n\n|\A\n|\n\n\z")


@dataclass(frozen=True)
class Normalise(Edit):
    """Unicode normalisation, invisible characters removed, line ends and blank lines made the same.

    `form` is a Unicode normalisation form (Unicode Standard Annex 15). NFC unites only what is canonically equal; NFKC
    is held to characters whose change costs no meaning, so that formulas and superscripts survive. `spaces` takes away
    spaces at the ends of lines (two of them are a line break in Markdown) and blank lines beyond `max_blank_lines`.
    """

    form: Literal["none", "NFC", "NFKC"] = "NFC"
    invisible: bool = True
    spaces: bool = True
    max_blank_lines: int = 1

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        text, counts = draft.text, {}
        # Each step may make room for the next: a letter and its accent, kept apart by a zero-width space.
        if self.invisible and _ANY_INVISIBLE.search(draft.of(str.encode)):
            text = _remove_invisible(text, counts)
        if self.form != "none":
            text = _unite(text, self.form, counts)
        if self.spaces and _ANY_SPACE.search(draft.of(str.encode) if text is draft.text else text.encode()):
            text = self._trim(text, counts)
        return text, counts

    def _trim(self, text: str, counts: dict[str, int]) -> str:
        text, counts["trailing_space"] = _trim_lines(text)
        longest = "\n" * (self.max_blank_lines + 1)
        inner = 0
        if longest + "\n" in text:
            text, inner = re.subn(longest + "\n+", longest, text)
        text, outer = _EDGES.subn(lambda match: "\n" if match.start() else "", text)
        counts["blank_line"] = inner + outer
        return text


def _trim_lines(text: str) -> tuple[str, int]:
    lines, count = text.split("\n"), 0
    for i, line in enumerate(lines):
        if line and line[-1] in _SPACE:
            end = len(line.rstrip(_SPACE))
            end += line[:end].endswith("\\")  # "\ " is a space in TeX
            if end < len(line):
                lines[i], count = line[:end], count + 1
    return "\n".join(lines) if count else text, count


def _remove_invisible(text: str, counts: dict[str, int]) -> str:
    text, counts["line_end"] = _LINE_END.subn("\n", text)
    for kind, pattern in _REMOVED:
        text, count = pattern.subn("", text)
        counts[kind] = counts.get(kind, 0) + count
    return text


def _unite(text: str, form: str, counts: dict[str, int]) -> str:
    if text.isascii():
        return text
    if form == "NFKC":
        runs = {run: unicodedata.normalize("NFKC", run) for run in _COMPATIBLE.findall(text)}
        if any(old != new for old, new in runs.items()):
            counts["compatible"] = sum(run != runs[run] for run in _COMPATIBLE.findall(text))
            text = _COMPATIBLE.sub(lambda match: runs[match[0]], text)
    if unicodedata.is_normalized("NFC", text):
        return text
    pieces = _KEPT_BY_NFC.split(text)
    united = "".join(piece if i % 2 else unicodedata.normalize("NFC", piece) for i, piece in enumerate(pieces))
    counts["form"] = int(united != text)
    return united
