"""FineWeb's own rules, found by comparing good and bad crawls: lists, menus and lines said twice.

Penedo et al. 2024 (FineWeb), arXiv 2406.17557, section 3.6, read as datatrove's FineWebQualityFilter does.
"""

from dataclasses import dataclass

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.census import TERMINAL_PUNCTUATION, num_words
from data_pipeline.operators.repetition import duplicates, find_again, lines


@dataclass(frozen=True)
class FineWeb(Filter):
    """Drops text whose lines are no sentences: few end in punctuation, many are short, repeated, or all there is."""

    min_punctuated_lines: float = 0.12  # share of lines that end in . ! ? or their like in any script
    max_short_lines: float = 0.67
    short_line: int = 30  # characters; a line is short up to this
    max_duplicate_line_chars: float = 0.01  # share of characters in lines that repeat an earlier one
    max_line_ends: float = 0.3  # to a word

    def check(self, draft: Draft) -> Finding | None:
        filled = [line for line in draft.of(lines) if line and not line.isspace()]
        if not filled:
            return Finding("empty")
        punctuated = sum(line[-1] in TERMINAL_PUNCTUATION for line in filled) / len(filled)
        if punctuated < self.min_punctuated_lines:
            return Finding("too_few_punctuated_lines", punctuated)
        short = sum(len(line) <= self.short_line for line in filled) / len(filled)
        if short > self.max_short_lines:
            return Finding("too_many_short_lines", short)
        line_ends = len(draft.of(lines)) - 1
        _, characters, passage = duplicates(filled)
        share = characters / (len(draft.text) - line_ends)
        if share > self.max_duplicate_line_chars:
            return Finding("duplicate_line_characters", share, *find_again(draft.text, passage))
        # What white space separates is at least one word, and quicker to count.
        if line_ends / len(draft.text.split()) <= self.max_line_ends:
            return None
        ratio = line_ends / num_words(draft.text)
        return Finding("too_many_line_ends", ratio) if ratio > self.max_line_ends else None
