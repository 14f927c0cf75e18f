"""What a document's characters, words and lines are made of.

Limits by default: Rae et al. 2021 (Gopher), arXiv 2112.11446, section A.1.1, where a class doesn't say otherwise.
"""

import re
from dataclasses import dataclass

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.words import split_words

_ELLIPSIS = re.compile(r"\.\.\.|…")
_BULLETS = ("-", "*", "•", "‣", "·", "●", "▪", "◦", "–", "—")
_LETTER = re.compile(r"[^\W\d_]")
_DIGIT = re.compile(r"\d")
# Neither letter, digit nor white space: punctuation and symbols.
_MARK = re.compile(r"[^\w\s]|_")


def _lines(text: str) -> list[str]:
    return [line for raw in text.splitlines() if (line := raw.strip())]


@dataclass(frozen=True)
class SymbolRatio(Filter):
    """Drops text with more than `max_ratio` hash signs, or ellipses, to a word."""

    max_ratio: float = 0.1

    def check(self, draft: Draft) -> Finding | None:
        reason = self._reason(draft.text)
        return Finding(reason) if reason else None

    def _reason(self, text: str) -> str | None:
        words = len(split_words(text)) or 1
        if text.count("#") / words > self.max_ratio:
            return "too_many_hash_signs"
        return "too_many_ellipses" if len(_ELLIPSIS.findall(text)) / words > self.max_ratio else None


@dataclass(frozen=True)
class LineMarks(Filter):
    """Drops text whose lines nearly all begin with a bullet, or often end in an ellipsis."""

    max_bullet_share: float = 0.9
    max_ellipsis_share: float = 0.3

    def check(self, draft: Draft) -> Finding | None:
        reason = self._reason(draft.text)
        return Finding(reason) if reason else None

    def _reason(self, text: str) -> str | None:
        lines = _lines(text)
        if not lines:
            return None
        if sum(line.startswith(_BULLETS) for line in lines) / len(lines) > self.max_bullet_share:
            return "too_many_bullets"
        ends = sum(line.endswith(("...", "…")) for line in lines)
        return "too_many_ellipsis_lines" if ends / len(lines) > self.max_ellipsis_share else None


@dataclass(frozen=True)
class AlphabeticWords(Filter):
    """Drops text where fewer than `min_share` of the words hold a letter."""

    min_share: float = 0.8

    def check(self, draft: Draft) -> Finding | None:
        reason = self._reason(draft.text)
        return Finding(reason) if reason else None

    def _reason(self, text: str) -> str | None:
        words = split_words(text)
        with_letter = sum(_LETTER.search(word) is not None for word in words)
        return "too_few_alphabetic_words" if words and with_letter / len(words) < self.min_share else None


@dataclass(frozen=True)
class StopWords(Filter):
    """Drops text in which fewer than `min_distinct` of the commonest words of its language occur: no sentences."""

    words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    min_distinct: int = 2

    def check(self, draft: Draft) -> Finding | None:
        reason = self._reason(draft.text)
        return Finding(reason) if reason else None

    def _reason(self, text: str) -> str | None:
        found = set(map(str.lower, split_words(text)))
        return "too_few_stop_words" if len(found.intersection(self.words)) < self.min_distinct else None


@dataclass(frozen=True)
class CharacterShares(Filter):
    """Drops text by shares of its characters other than white space; limits of 0 and 1 check nothing.

    No published rule holds for all domains: look at what `maxlm-data inspect --removed` shows before tightening.
    """

    min_letters: float = 0.0
    max_digits: float = 1.0
    max_marks: float = 1.0  # punctuation and symbols

    def check(self, draft: Draft) -> Finding | None:
        reason = self._reason(draft.text)
        return Finding(reason) if reason else None

    def _reason(self, text: str) -> str | None:
        total = sum(map(len, text.split()))
        if not total:
            return None
        if len(_LETTER.findall(text)) / total < self.min_letters:
            return "too_few_letters"
        if len(_DIGIT.findall(text)) / total > self.max_digits:
            return "too_many_digits"
        return "too_many_marks" if len(_MARK.findall(text)) / total > self.max_marks else None
