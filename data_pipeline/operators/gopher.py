"""Gopher's quality rules but for those on length (length.py): symbols, bullets, letters, stop words.

Rules and limits: Rae et al. 2021 (Gopher), arXiv 2112.11446, section A.1.1, read as datatrove's GopherQualityFilter
does (docs/corpus/filters.md).
"""

from dataclasses import dataclass

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.census import LETTER, census, hash_word
from data_pipeline.operators.words import split_words
from maxlm.errors import ConfigError


@dataclass(frozen=True)
class SymbolRatio(Filter):
    """Drops text with more than `max_ratio` hash signs, or ellipses, to a word."""

    max_ratio: float = 0.1

    def check(self, draft: Draft) -> Finding | None:
        words = draft.of(census).num_words or 1
        signs = draft.text.count("#") / words
        if signs > self.max_ratio:
            return Finding("too_many_hash_signs", signs)
        ellipses = (draft.text.count("...") + draft.text.count("…")) / words
        return Finding("too_many_ellipses", ellipses) if ellipses > self.max_ratio else None


@dataclass(frozen=True)
class LineMarks(Filter):
    """Drops text whose lines nearly all begin with a bullet, or often end in an ellipsis. Blank lines are lines."""

    max_bullet_share: float = 0.9
    max_ellipsis_share: float = 0.3
    bullets: tuple[str, ...] = ("•", "-")

    def check(self, draft: Draft) -> Finding | None:
        lines = draft.text.splitlines()
        # No more lines bear a mark than there are marks: most texts need no look at each line.
        if sum(map(draft.text.count, self.bullets)) > self.max_bullet_share * len(lines):
            share = sum(line.lstrip().startswith(self.bullets) for line in lines) / len(lines)
            if share > self.max_bullet_share:
                return Finding("too_many_bullets", share)
        if draft.text.count("...") + draft.text.count("…") > self.max_ellipsis_share * len(lines):
            share = sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines)
            if share > self.max_ellipsis_share:
                return Finding("too_many_ellipsis_lines", share)
        return None


@dataclass(frozen=True)
class AlphabeticWords(Filter):
    """Drops text where fewer than `min_share` of the words hold a letter."""

    min_share: float = 0.8

    def check(self, draft: Draft) -> Finding | None:
        counted = draft.of(census)
        if not counted.num_words:
            return None
        share = int(counted.words_of(LETTER).sum()) / counted.num_words
        return Finding("too_few_alphabetic_words", share) if share < self.min_share else None


@dataclass(frozen=True)
class StopWords(Filter):
    """Drops text in which fewer than `min_distinct` of the commonest words of its language occur: no sentences.

    Case counts, and a word that a comma follows is another one: a text of sentences has plain ones too.
    """

    words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    min_distinct: int = 2

    def __post_init__(self) -> None:
        if wrong := [word for word in self.words if split_words(word) != (word,)]:
            raise ConfigError(f"stop_words.words: {wrong[0]!r} is not one word (Chinese: one character)")

    def check(self, draft: Draft) -> Finding | None:
        hashes = draft.of(census).hashes
        found = 0
        for word in self.words:
            if found >= self.min_distinct:
                return None
            found += bool((hashes == hash_word(word)).any())
        return Finding("too_few_stop_words", found) if found < self.min_distinct else None
