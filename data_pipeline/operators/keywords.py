"""Lists of words and phrases that speak against a text."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from data_pipeline.operators.base import Draft, Filter, Finding
from maxlm.errors import ConfigError

# Thai to Burmese, Khmer, and East Asian but for Hangul, which has spaces.
_UNSPACED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x9FFF), (0xF900, 0x10FFFF))
_LISTS = Path(__file__).parent / "lists"
_SHOWN = 5  # hits named in the evidence


class Hit(NamedTuple):
    """An occurrence of a listed word: its place in the text, in characters."""

    start: int
    end: int
    word: str


class Matcher:
    """Finds all of many words in one pass (Aho and Corasick 1975, doi 10.1145/360825.360855), in any case.

    Words of scripts with spaces match as whole words, others anywhere. Of hits that overlap the first counts, and of
    those that begin together the longest.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        import ahocorasick_rs

        self._words = sorted({lower for word in words if (lower := _lower(word.strip()))})
        self._automaton = ahocorasick_rs.BytesAhoCorasick([word.encode() for word in self._words])

    def __call__(self, text: str) -> list[Hit]:
        """All hits in `text`, in order."""
        raw = _lower(text).encode()
        found = [
            (start, -end, number)
            for number, start, end in self._automaton.find_matches_as_indexes(raw, overlapping=True)
            if _stands_alone(raw, start, end)
        ]
        hits, chars, upto = [], 0, 0
        for start, negative_end, number in sorted(found):
            if start >= upto:
                chars, upto_before = chars + len(raw[upto:start].decode()), start
                length = len(raw[upto_before:-negative_end].decode())
                hits.append(Hit(chars, chars + length, self._words[number]))
                chars, upto = chars + length, -negative_end
        return hits


@dataclass(frozen=True)
class Keywords(Filter):
    """Drops text in which listed words occur more than `max_hits` times, `min_distinct` different ones among them.

    `lists` names lists in operators/lists (`zh`, `en`: short ones, of spam) or files with one word or phrase a line;
    `words` adds more. With `languages`, only documents in one of them are looked at. Where hits are found the first is
    shown. C4 (Raffel et al. 2020, arXiv 1910.10683, section 2.2) drops a page at the first word of its list.
    """

    lists: tuple[str, ...] = ("zh", "en")
    words: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_hits: int = 2
    min_distinct: int = 1

    def __post_init__(self) -> None:
        _matcher(self.lists, self.words)

    def check(self, draft: Draft) -> Finding | None:
        if self.languages and draft.language not in self.languages:
            return None
        hits = draft.of(_matcher(self.lists, self.words))
        if len(hits) <= self.max_hits or len({hit.word for hit in hits}) < self.min_distinct:
            return None
        words = ", ".join(dict.fromkeys(hit.word for hit in hits[:_SHOWN]))
        return Finding("listed_words", len(hits), hits[0].start, hits[0].end, f"listed words: {words}")


@cache
def _matcher(lists: tuple[str, ...], words: tuple[str, ...]) -> Matcher:
    """The matcher of all words.

    Raises:
      ConfigError: a list can't be read; names it.
    """
    for name in lists:
        path = Path(name) if "/" in name or name.endswith(".txt") else _LISTS / f"keywords.{name}.txt"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"keywords: can't read the list {name}: {error}") from error
        words += tuple(line for line in lines if not line.startswith("#"))
    return Matcher(words)


def _lower(text: str) -> str:
    """Lower case, character by character: places stay what they are."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def _stands_alone(raw: bytes, start: int, end: int) -> bool:
    """Whether no letter of a script with spaces goes on from either end of a word into another letter of such one."""
    before, first = _last(raw[max(0, start - 4) : start]), _first(raw[start : start + 4])
    last, after = _last(raw[max(0, end - 4) : end]), _first(raw[end : end + 4])
    return not (_in_word(before) and _in_word(first)) and not (_in_word(last) and _in_word(after))


def _last(raw: bytes) -> str:
    return raw.decode(errors="ignore")[-1:]


def _first(raw: bytes) -> str:
    return raw.decode(errors="ignore")[:1]


def _in_word(character: str) -> bool:
    """Whether this is a letter or digit of a script that puts spaces between words."""
    return (character.isalnum() or character == "_") and not _is_unspaced(character)


def _is_unspaced(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in _UNSPACED)
