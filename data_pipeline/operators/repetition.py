"""Text that repeats itself: lines, paragraphs, and runs of words.

Rules and limits: Rae et al. 2021 (Gopher), arXiv 2112.11446, section A.1.1 and table A1. Chinese is counted by the
character, and its runs say less than as many words: give larger lengths there (configs/data/recipes/prose_zh.yaml).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.words import split_words

_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
# Any odd multiplier will do: hashes of runs are compared within one document only, and 64 bits don't collide there.
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Repetition(Filter):
    """Drops text of which too large a share is said more than once."""

    max_duplicate_lines: float = 0.30  # share of lines that repeat an earlier one
    max_duplicate_line_chars: float = 0.20  # share of characters in them
    max_duplicate_paragraphs: float = 0.30
    max_duplicate_paragraph_chars: float = 0.20
    # length of a run in words -> largest share of characters in the commonest run of that length
    max_top: dict[str, float] = field(default_factory=lambda: {"2": 0.20, "3": 0.18, "4": 0.16})
    # length of a run in words -> largest share of characters in runs that occur more than once
    max_duplicate: dict[str, float] = field(
        default_factory=lambda: {"5": 0.15, "6": 0.14, "7": 0.13, "8": 0.12, "9": 0.11, "10": 0.10}
    )

    def check(self, draft: Draft) -> Finding | None:
        reason = self._reason(draft.text)
        return Finding(reason) if reason else None

    def _reason(self, text: str) -> str | None:
        return self._lines_reason(text) or self._runs_reason(text)

    def _lines_reason(self, text: str) -> str | None:
        shares = duplicate_shares([line for raw in text.splitlines() if (line := raw.strip())])
        if shares[0] > self.max_duplicate_lines:
            return "duplicate_lines"
        if shares[1] > self.max_duplicate_line_chars:
            return "duplicate_line_characters"
        shares = duplicate_shares([part for raw in _PARAGRAPH_BREAK.split(text) if (part := raw.strip())])
        if shares[0] > self.max_duplicate_paragraphs:
            return "duplicate_paragraphs"
        return "duplicate_paragraph_characters" if shares[1] > self.max_duplicate_paragraph_chars else None

    def _runs_reason(self, text: str) -> str | None:
        runs = Runs(split_words(text))
        for length, limit in self.max_top.items():
            if runs.top_share(int(length)) > limit:
                return f"top_{length}_gram"
        for length, limit in self.max_duplicate.items():
            if runs.duplicate_share(int(length)) > limit:
                return f"duplicate_{length}_gram"
        return None


def duplicate_shares(parts: Sequence[str]) -> tuple[float, float]:
    """Which share of `parts`, and which share of their characters, repeats an earlier one; 0 of nothing."""
    characters = sum(map(len, parts))
    if not characters:
        return 0.0, 0.0
    unique = set(parts)
    return (len(parts) - len(unique)) / len(parts), (characters - sum(map(len, unique))) / characters


class Runs:
    """The runs of n words in a text. Shares are of the words' characters; those in overlapping runs count once."""

    def __init__(self, words: Sequence[str]) -> None:
        numbers = {word: number for number, word in enumerate(dict.fromkeys(words), start=1)}
        self._ids = np.fromiter(map(numbers.__getitem__, words), np.uint64, len(words))
        self._lengths = np.fromiter(map(len, words), np.int64, len(words))

    def top_share(self, length: int) -> float:
        """The share of characters inside the commonest run of `length` words; 0 where none occurs twice.

        Of several that are equally common the one with most characters counts.
        """
        runs, counts = self._count(length)
        if not counts.size or counts.max() < 2:
            return 0.0
        ends = np.concatenate([[0], np.cumsum(self._lengths)])
        characters = np.where(counts[runs] == counts.max(), ends[length:] - ends[:-length], -1)
        return self._share_inside(runs == runs[np.argmax(characters)], length)

    def duplicate_share(self, length: int) -> float:
        """The share of characters inside any run of `length` words that occurs more than once."""
        runs, counts = self._count(length)
        return self._share_inside(counts[runs] > 1, length) if counts.size else 0.0

    def _count(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """For each position the number of its run, and for each number how often it occurs."""
        starts = len(self._ids) - length + 1
        if starts < 1:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        hashes = np.zeros(starts, np.uint64)
        for offset in range(length):
            hashes = (hashes ^ self._ids[offset : offset + starts]) * _MULTIPLIER
            hashes ^= hashes >> np.uint64(29)  # lets the high bits, which multiplying fills, reach the low ones
        _, runs, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        return runs, counts

    def _share_inside(self, starts: np.ndarray, length: int) -> float:
        """The share of characters in words covered by a run that begins where `starts` is true."""
        steps = np.zeros(len(self._ids) + 1, np.int64)
        begins = np.flatnonzero(starts)
        np.add.at(steps, begins, 1)
        np.add.at(steps, begins + length, -1)
        inside = np.cumsum(steps[:-1]) > 0
        return float(self._lengths[inside].sum() / self._lengths.sum())
