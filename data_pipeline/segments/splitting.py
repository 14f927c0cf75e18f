"""A text as lines, paragraphs or sentences, and the text that is left when some of them are cut.

Units are spans that never overlap and leave out the white space between them, so that cutting can mend it.
"""

import re
from collections.abc import Collection, Sequence
from itertools import pairwise

Span = tuple[int, int]

_LINE = re.compile(r"\S[^\n\r]*")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
# Ends that need no space after them: Chinese and Japanese, Indic, Arabic, Urdu, Armenian, Ethiopic, Burmese, Khmer.
_STRONG = "。｡！？…；।॥؟۔։።။។"
_CLOSING = "”’」』）】》〉\"')\\]}»›*_"
# A terminator is a run of full stops and marks with whatever closes after it. "…" in Latin text is weak, see below.
_TERMINATOR = re.compile(rf"[{_STRONG}.!?]+[{_CLOSING}]*")
_OPENING = re.compile(r"[\"'“‘«‹(\[*_¿¡#<{-]*")
_HAN_OR_KANA = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff60\u3000-\u303f]")
_LAST_WORD = re.compile(r"[^\W\d_][\w.]*$")
# What a full stop mostly follows without an end; those that do end sentences at times ("etc.") are left out,
# since a small letter after the stop tells.
_ABBREVIATIONS = frozenset(
    "mr mrs ms mx dr prof st mt rev hon sr fr msgr gen col lt sgt capt cmdr adm maj pvt gov sen rep pres supt "
    "messrs mme mlle m vs v viz cf ca approx fig figs eq eqs sec sect ch chap vol vols no nos nr pp p art "
    "ed eds trans e.g i.e eg ie op cit al dept est "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun".split()
)


def split(text: str, unit: str) -> list[Span]:
    """The lines, paragraphs (lines that no blank one parts) or sentences of a text, in order.

    A line end ends a sentence too, unless the next line goes on with a small letter: prose may be wrapped.
    """
    lines = [(match.start(), match.end()) for match in _LINE.finditer(text)]
    if unit == "line":
        return lines
    blank = [text.count("\n", left[1], right[0]) > 1 for left, right in pairwise(lines)]
    if unit == "paragraph":
        return _joined(lines, [not gap for gap in blank])
    wrapped = [not gap and text[right[0]].islower() for gap, right in zip(blank, lines[1:], strict=True)]
    return [span for block in _joined(lines, wrapped) for span in _sentences(text, *block)]


def _joined(spans: Sequence[Span], with_next: Sequence[bool]) -> list[Span]:
    """Spans, those that go on in the next one joined to it; `with_next` lacks the last, which has no next."""
    blocks: list[Span] = []
    for span, joins in zip(spans, [False, *with_next], strict=False):
        if joins:
            blocks[-1] = (blocks[-1][0], span[1])
        else:
            blocks.append(span)
    return blocks


def _sentences(text: str, start: int, end: int) -> list[Span]:
    spans = []
    begin = start
    for match in _TERMINATOR.finditer(text, start, end):
        if match.end() < end and _ends_sentence(text, match, end):
            spans.append((begin, match.end()))
            begin = match.end()
            while begin < end and text[begin].isspace():
                begin += 1
    if begin < end:
        spans.append((begin, end))
    return spans


def _ends_sentence(text: str, match: re.Match[str], end: int) -> bool:
    """Whether a sentence ends at these marks, which are not the last of the text."""
    marks = match.group()
    after = text[match.end()]
    strong = any(mark in _STRONG for mark in marks if mark != "…")
    if strong or ("…" in marks and _HAN_OR_KANA.match(after)):
        return True
    before = text[match.start() - 1] if match.start() else ""
    if not after.isspace():
        # "对吗?好" ends without a space; "3.14", "a.b" and "what?!x" do not.
        return bool(before and _HAN_OR_KANA.match(before) and _HAN_OR_KANA.match(after) and marks[0] in "!?")
    following = match.end()
    while following < end and text[following].isspace():
        following += 1
    opened = _OPENING.match(text, following, end)
    first = text[opened.end() : opened.end() + 1] if opened else ""
    if first.islower():
        return False
    return marks[0] != "." or (len(marks) > 1 and marks[1] == ".") or not _is_abbreviation(text, match.start())


def _is_abbreviation(text: str, stop: int) -> bool:
    """Whether the word before a full stop is an initial ("J.") or an abbreviation that something follows."""
    word = _LAST_WORD.search(text, max(0, stop - 20), stop)
    if word is None:
        return False
    name = word.group()
    if len(name) == 1:
        return (name.isupper() and name != "I") or name.lower() in _ABBREVIATIONS
    return name.lower() in _ABBREVIATIONS


def fenced(text: str) -> list[Span]:
    """The blocks of code that Markdown fences off, fences included; one that is never closed goes on to the end."""
    fences = [match.start() for match in _FENCE.finditer(text)] if "```" in text or "~~~" in text else []
    ends = [text.find("\n", fence) % (len(text) + 1) for fence in fences[1::2]]
    return list(zip(fences[::2], [*ends, len(text)], strict=False))


def cut(text: str, spans: Sequence[Span], gone: Collection[int]) -> str:
    """The text without the units of these indices, "" without them all; the gaps around a cut become one."""
    pieces: list[str] = []
    gap, end = "", 0
    for i, (start, stop) in enumerate(spans):
        gap = _one_gap(gap, text[end:start])
        end = stop
        if i not in gone:
            pieces += [gap if pieces or i == 0 else "", text[start:stop]]
            gap = ""
    return "".join([*pieces, text[end:]]) if pieces else ""


def _one_gap(before: str, after: str) -> str:
    """Of two gaps that a cut brings together the one with more line ends, else the later: it holds the indentation."""
    return before if before.count("\n") > after.count("\n") else after or before
