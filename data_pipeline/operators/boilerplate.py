"""Lines that websites put around a text, and lists of references behind it."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import re2

from data_pipeline.operators.base import Draft, Edit, Filter, Finding
from maxlm.errors import ConfigError

_LISTS = Path(__file__).parent / "lists"
# `…` in a list: some characters, none of which ends a sentence.
_CLAUSE = r"[^\n.!?;。！？；]{0,60}"
# Kinds that read like sentences: in small letters they are the second line of one that goes over several.
_SENTENCES = {"comments", "editor", "more", "repost", "source", "subscribe"}
_COUNTED = re.compile(r"\{([01]),\d+\}")
_MAX_MEMORY = 64 << 20  # bytes, for the states of the automaton
_MAX_LINE = 400  # characters; longer lines are paragraphs, whatever they begin with
_MIN_LINES = 4  # of a page, to speak of what most of it is


class Line(NamedTuple):
    """A line of boilerplate: where it stands in the text's UTF-8 bytes, its end included, and what it is."""

    start: int
    end: int
    kind: str


class Finder:
    """Finds the lines that lists of patterns describe, in one pass over the text."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        rules = [rule for path in paths for rule in _read_rules(path)]
        # One pattern says where, at the speed of one; the single ones are asked only what it was.
        # Counted repetitions would make it too large for an automaton, so that it finds too much.
        either = "|".join(f"(?:{_COUNTED.sub(_uncounted, pattern)})" for _, pattern in rules)
        self._any = _compile(rf"(?im)^[ \t　]*(?:{either})[ \t　]*$")
        self._kinds = [(kind, _compile(rf"(?i)[ \t　]*(?:{pattern})[ \t　]*")) for kind, pattern in rules]

    def __call__(self, text: str) -> list[Line]:
        """All lines of `text` that are boilerplate, in order."""
        raw = text.encode()
        lines = []
        for match in self._any.finditer(raw):
            # A pattern with \s may run over the end of a line, so each line of a match is looked at by itself.
            start = match.start()
            for line in match[0].split(b"\n"):
                if line.strip() and len(line) <= _MAX_LINE * 3 and (kind := self._kind(line)):
                    lines.append(Line(start, min(start + len(line) + 1, len(raw)), kind))
                start += len(line) + 1
        return lines

    def _kind(self, line: bytes) -> str | None:
        if len(line.decode()) > _MAX_LINE:
            return None
        kind = next((kind for kind, pattern in self._kinds if pattern.fullmatch(line)), None)
        return None if kind in _SENTENCES and line.lstrip()[:1].islower() else kind


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False  # they are raised
    return re2.compile(pattern, options)


def _uncounted(match: re.Match[str]) -> str:
    return "*" if match[1] == "0" else "+"


def _read_rules(path: str) -> Iterator[tuple[str, str]]:
    """The (kind, pattern) rules of a list: one a line, `kind: pattern`; `#` begins a comment.

    Raises:
      ConfigError: no such list, or a line of another form; names file and line.
    """
    file = Path(path) if "/" in path or path.endswith(".txt") else _LISTS / f"boilerplate.{path}.txt"
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(found.name.split(".")[1] for found in _LISTS.glob("boilerplate.*.txt")))
        raise ConfigError(f"boilerplate: no list {path!r}; there are {known}, or give the path of a file") from error
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, colon, pattern = line.partition(": ")
        pattern = pattern.replace("…", _CLAUSE)
        if not colon or not kind.isidentifier():
            raise ConfigError(f"{file}, line {number}: expected `kind: pattern`, found {line!r}")
        try:
            _compile(pattern)
        except re2.error as error:
            raise ConfigError(f"{file}, line {number}: no pattern of RE2: {error}") from error
        yield kind, pattern


@cache
def _finder(lists: tuple[str, ...]) -> Finder:
    return Finder(lists)


@dataclass(frozen=True)
class Boilerplate(Edit):
    """Cuts lines such as "转载自…", "责任编辑：…", cookie banners, navigation, and share and copyright footers.

    `lists` names lists in operators/lists (`zh`, `en`) or files of the same form. Rules of our own, held against prose
    (docs/corpus/operators.md); C4 (Raffel et al. 2020, arXiv 1910.10683, section 2.2) cuts lines by single words, with
    more lost. Each cut is counted by its kind.
    """

    lists: tuple[str, ...] = ("zh", "en")

    def __post_init__(self) -> None:
        _finder(self.lists)

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        lines = draft.of(_finder(self.lists))
        if not lines:
            return draft.text, {}
        raw, pieces, end = draft.text.encode(), [], 0
        for line in lines:
            pieces.append(raw[end : line.start])
            end = line.end
        text = b"".join([*pieces, raw[end:]]).decode()
        return text, Counter(line.kind for line in lines)


@dataclass(frozen=True)
class BoilerplatePage(Filter):
    """Drops a page of which more than `max_share` of the lines are boilerplate: what is left is no text.

    To stand before `boilerplate`, which leaves nothing to count.
    """

    max_share: float = 0.5
    lists: tuple[str, ...] = ("zh", "en")

    def __post_init__(self) -> None:
        _finder(self.lists)

    def check(self, draft: Draft) -> Finding | None:
        lines = draft.of(_finder(self.lists))
        if len(lines) < _MIN_LINES * self.max_share:
            return None
        total = sum(1 for line in draft.text.split("\n") if line.strip())
        share = len(lines) / total
        if total < _MIN_LINES or share <= self.max_share:
            return None
        raw = draft.text.encode()
        start, end = (len(raw[:offset].decode()) for offset in lines[0][:2])
        return Finding("mostly_boilerplate", share, start, end)


_HEADING = re.compile(
    r"^[ \t]*(?:#+ *|\*\*|=+ *|\\(?:sub)*section\*?\{)?(?:\d+\.? +|[一二三四五六七八九十]+、)?"
    r"(?:references|bibliography|works cited|literature cited|references and notes"
    r"|(?:主要)?参考文献|参考资料|参考书目|引用文献)"
    r"[ \t]*[:：}]?(?:\*\*| *=+)?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_ANY_HEADING = re2.compile(r"(?i)(?:references|bibliography|works cited|literature cited|文献|资料|参考书目).*\n")
_REFERENCE = re.compile(
    r"^\s*(?:\[\w+\]|［\w+］|【\d+】|〔\d+〕|\^|\(\d+\)|（\d+）)"
    r"|\bdoi\b|\barxiv\b|https?://|\bet al\b|\b(?:pp|vol|no|eds?)\.\s|\[[JMCDNPRSZ](?:/OL)?\]"
    r"|(?:\(|\b)(?:1[5-9]|20)\d\d[a-z]?(?:\)|[.,;:]|$)|^\s*(?:[-*•]|\d+[.)])\s+\S.*\b(?:1[5-9]|20)\d\d\b|出版社|学报",
    re.IGNORECASE,
)
_MIN_REFERENCES = 0.6  # of the lines behind the heading


@dataclass(frozen=True)
class References(Edit):
    """Cuts a list of references at the end of a document, heading included, where nothing else comes after it.

    A rule of our own: the heading stands on a line by itself, and most lines behind it have a mark in brackets, a year,
    a DOI, an address, or a publisher.
    """

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        text, count = draft.text, 0
        if not _ANY_HEADING.search(draft.of(str.encode)):
            return text, {}
        # What is cut may have hidden another list before it.
        while (start := _references_start(text)) is not None:
            text, count = text[:start].rstrip(), count + 1
        return text, {"list": count}


def _references_start(text: str) -> int | None:
    for match in _HEADING.finditer(text):
        lines = [line for line in text[match.end() :].split("\n") if line.strip()]
        if lines and sum(bool(_REFERENCE.search(line)) for line in lines) >= _MIN_REFERENCES * len(lines):
            return match.start()
    return None
