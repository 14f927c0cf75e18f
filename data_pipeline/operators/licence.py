"""Licence headers: the same comment at the head of a thousand files."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import re2

from data_pipeline.operators.base import Draft, Edit

# What may stand before a header.
_PREAMBLE = re.compile(r"#!|#.*coding[:=]|<\?php|<\?xml|<!doctype|['\"]use strict|%%|package |\s*$", re.IGNORECASE)
_LINE_COMMENT = re.compile(r"\s*(//+!?|#+|--+|;+|%+|'|!|dnl\b|rem\b)", re.IGNORECASE)
_OPENINGS = {"/*": "*/", "<!--": "-->", "(*": "*)", "{-": "-}"}
_DECORATION = re.compile(r"^[\s/*#;%!<>(){}'|=_+~-]+|[\s/*#;%<>(){}|=_+~-]+$")
_MOST_LINES = 400  # that a header has; what goes on longer is a book


@dataclass(frozen=True)
class LicenceHeader(Edit):
    """Cuts licence and copyright notices from the comments that a file begins with; what else they say stays.

    After the cleaning of GitHub in RedPajama (Together 2023, github.com/togethercomputer/RedPajama-Data), which cuts
    the whole first comment. Paragraphs are cut from the first that speaks of a licence to the last.
    """

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        if not _licence().search(draft.text[: _MOST_LINES * 100]):
            return draft.text, {}
        lines, count = draft.text.split("\n"), 0
        while (cut := _first_notice(lines)) is not None:
            start, end, instead = cut
            lines[start:end] = instead
            # Blank lines between what went and what follows went with it.
            while (
                not instead and start < len(lines) and not lines[start].strip() and (start == 0 or not lines[start - 1])
            ):
                del lines[start]
            count += 1
        return "\n".join(lines), {"licence": count}


def patterns(name: str) -> list[str]:
    """The patterns in operators/lists/NAME.txt."""
    lines = (Path(__file__).parent / "lists" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


@cache
def _licence() -> Any:
    return re2.compile(f"(?i){'|'.join(patterns('licence'))}")


def _first_notice(lines: list[str]) -> tuple[int, int, list[str]] | None:
    """Which lines the first notice has, as start and end, and what comes in their place (half of a comment's signs)."""
    at = 0
    while at < min(len(lines), _MOST_LINES):
        end = _comment_end(lines, at)
        if end is None:
            if not _PREAMBLE.match(lines[at]):
                return None
            at += 1
            continue
        if (cut := _notice_in(lines, at, end)) is not None:
            return cut
        at = end
    return None


def _comment_end(lines: list[str], at: int) -> int | None:
    """Behind which line the comment that begins at line `at` ends; None: none begins there."""
    line = lines[at].strip()
    for opening, closing in _OPENINGS.items():
        if line.startswith(opening):
            for end in range(at, min(len(lines), at + _MOST_LINES)):
                inside = lines[end].strip().removeprefix(opening) if end == at else lines[end]
                if closing in inside:
                    return end + 1 if inside.rstrip().endswith(closing) else None
            return None
    if _PREAMBLE.match(line) or not (mark := _LINE_COMMENT.match(line)):
        return None
    end = at
    while end < len(lines) and lines[end].strip().startswith(mark[1][:1]) and not _PREAMBLE.match(lines[end].strip()):
        end += 1
    return end


def _notice_in(lines: list[str], start: int, end: int) -> tuple[int, int, list[str]] | None:
    said = [_DECORATION.sub("", _DECORATION.sub("", line)) for line in lines[start:end]]
    paragraphs, at = [], 0
    while at < len(said):
        upto = at
        while upto < len(said) and said[upto]:
            upto += 1
        if upto > at:
            paragraphs.append((at, upto))
        at = upto + 1
    legal = [(a, b) for a, b in paragraphs if _licence().search(" ".join(said[a:b]))]
    if not legal:
        return None
    first, last = legal[0][0], legal[-1][1]
    if not any(said[:first]) and not any(said[last:]):
        return start, end, []
    # The signs that open and close a block comment stay with what stays.
    opening, closing = lines[start].strip(), lines[end - 1].strip()
    signs = next(((o, c) for o, c in _OPENINGS.items() if opening.startswith(o)), None)
    instead = []
    if signs and first == 0:
        instead.append(signs[0])
    if signs and last == len(said) and closing.endswith(signs[1]):
        instead.append(" " + signs[1])
    return start + first, start + last, instead
