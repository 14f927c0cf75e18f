"""Text that repeats itself: lines, paragraphs, runs of words, and runs of characters.

Rules and limits of Repetition: Rae et al. 2021 (Gopher), arXiv 2112.11446, section A.1.1 and table A1, as datatrove
reads them (docs/corpus/filters.md has the differences). Chinese is counted by the character, and its runs say less than
as many words: give larger lengths there (configs/data/recipes/web_zh.yaml).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.census import SPACE, Census, census
from maxlm.errors import ConfigError

_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_MAX_CHARACTERS = 1 << 20
_MIXER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Repetition(Filter):
    """Drops text of which too large a share is said more than once. Shares are of all its characters."""

    max_duplicate_lines: float = 0.30  # share of lines that repeat an earlier one
    max_duplicate_line_chars: float = 0.20  # share of characters in them
    max_duplicate_paragraphs: float = 0.30
    max_duplicate_paragraph_chars: float = 0.20
    # length of a run in words -> largest share of characters in the commonest run of that length
    max_top: dict[str, float] = field(default_factory=lambda: {"2": 0.20, "3": 0.18, "4": 0.16})
    min_top_count: int = 2  # a run that occurs less often is not counted as the commonest; datatrove's is 1
    # length of a run in words -> largest share of characters in runs that repeat an earlier one
    max_duplicate: dict[str, float] = field(
        default_factory=lambda: {"5": 0.15, "6": 0.14, "7": 0.13, "8": 0.12, "9": 0.11, "10": 0.10}
    )

    def __post_init__(self) -> None:
        for name, limits in (("max_top", self.max_top), ("max_duplicate", self.max_duplicate)):
            if wrong := [length for length in limits if not length.isdecimal() or not int(length)]:
                raise ConfigError(f"repetition.{name}: lengths are whole numbers of words, found {wrong[0]!r}")

    def check(self, draft: Draft) -> Finding | None:
        if not draft.text:
            return None
        return self._check_paragraphs(draft.text) or self._check_lines(draft) or self._check_runs(draft)

    def _check_paragraphs(self, text: str) -> Finding | None:
        if "\n\n" not in text:
            return None
        count, characters, passage = duplicates(_PARAGRAPH_BREAK.split(text.strip()))
        if count > self.max_duplicate_paragraphs:
            return Finding("duplicate_paragraphs", count, *find_again(text, passage))
        share = characters / len(text)
        if share > self.max_duplicate_paragraph_chars:
            return Finding("duplicate_paragraph_characters", share, *find_again(text, passage))
        return None

    def _check_lines(self, draft: Draft) -> Finding | None:
        count, characters, passage = duplicates([line for line in draft.of(lines) if line])
        if count > self.max_duplicate_lines:
            return Finding("duplicate_lines", count, *find_again(draft.text, passage))
        share = characters / len(draft.text)
        if share > self.max_duplicate_line_chars:
            return Finding("duplicate_line_characters", share, *find_again(draft.text, passage))
        return None

    def _check_runs(self, draft: Draft) -> Finding | None:
        runs = Runs(draft.of(census))
        total = len(draft.text)
        top, limits = _by_length(self.max_top), _by_length(self.max_duplicate)
        most = runs.num_words  # how often the commonest run occurs; a longer run can't occur more often
        for length, limit in top:
            if most < self.min_top_count or most * runs.longest(length) / total <= limit:
                continue
            most, first = runs.commonest(length)
            if most < self.min_top_count or not most:
                continue
            share = most * runs.characters(first, length) / total
            if share > limit:
                return Finding(f"top_{length}_gram", share, *runs.passage(first, length))
        if not limits:
            return None
        # The share of characters in runs that occur again; those in longer runs are among them.
        bound = runs.covered_at_most(limits[0][0]) / total
        for i, (length, limit) in enumerate(limits):
            if bound <= min(limit for _, limit in limits[i:]):
                return None
            bound = runs.covered(length) / total
            if bound > limit:
                characters, first = runs.repeated(length)
                if characters / total > limit:
                    return Finding(f"duplicate_{length}_gram", characters / total, *runs.passage(first, length))
        return None


@dataclass(frozen=True)
class CharacterRepetition(Filter):
    """Drops text in which few runs of characters make up much of all: ornaments, stuck keys, chants.

    Of the runs of `length` characters that occur again, the commonest are held against all runs: as many as the square
    root of how many different runs there are (Laurençon et al. 2022, ROOTS, arXiv 2303.03915, as data-juicer counts,
    whose limit this is). The first million characters stand for a longer text.
    """

    max_share: float = 0.5
    length: int = 10  # characters

    def check(self, draft: Draft) -> Finding | None:
        text = draft.text[:_MAX_CHARACTERS]
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64) * _MIXER
        runs = _hash_runs(codes, self.length)
        if not runs.size:
            return None
        runs.sort()
        heads = np.flatnonzero(np.concatenate([[True], runs[1:] != runs[:-1]]))
        counts = np.sort(np.diff(heads, append=len(runs)))[::-1]
        most = min(math.isqrt(len(counts)), int(np.count_nonzero(counts > 1)))
        share = int(counts[:most].sum()) / len(runs)
        return Finding("repeated_characters", share) if share > self.max_share else None


def _by_length(limits: dict[str, float]) -> list[tuple[int, float]]:
    return sorted((int(length), limit) for length, limit in limits.items())


def lines(text: str) -> list[str]:
    """The lines of a text, empty ones too. Meant for ``draft.of(lines)``."""
    return text.split("\n")


def duplicates(parts: Sequence[str]) -> tuple[float, int, str]:
    """The share of `parts` that repeats an earlier one, the characters in those, the first of them; 0, 0, "": none."""
    if len(unique := set(parts)) == len(parts):
        return 0.0, 0, ""
    characters = sum(map(len, parts)) - sum(map(len, unique))
    seen: set[str] = set()
    for part in parts:
        if part in seen:
            break
        seen.add(part)
    return (len(parts) - len(unique)) / len(parts), characters, part


def find_again(text: str, passage: str) -> tuple[int, int]:
    """Where `passage` stands in `text` for the second time."""
    start = text.find(passage, text.find(passage) + len(passage))
    return start, start + len(passage)


def _hash_runs(hashes: np.ndarray, length: int) -> np.ndarray:
    """A hash of each run of `length`, given those of single words or characters."""
    if length == 1:
        return hashes
    return _hash_halves(_hash_runs(hashes, length // 2), _hash_runs(hashes, length - length // 2), length)


def _hash_halves(left: np.ndarray, right: np.ndarray, length: int) -> np.ndarray:
    """A hash of each run of `length`, given those of runs of half its length, and of the rest."""
    right = right[length // 2 :]
    left = left[: len(right)]
    hashes = (left ^ (left >> np.uint64(29))) * _MIXER
    hashes += right
    hashes *= _MIXER
    return hashes


class Runs:
    """The runs of n words in a text, numbered by their first word."""

    def __init__(self, counted: Census) -> None:
        self._census = counted
        self.num_words = counted.num_words
        self._hashes: dict[int, np.ndarray] = {1: counted.hashes}
        self._groups: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        # Characters before each word, and after the last: white space between two words counts as one character.
        spaced = (counted.word_kinds & SPACE) != 0
        self._spaced = spaced
        self._before = np.zeros(self.num_words + 1, np.int64)
        np.cumsum(counted.lengths + spaced, out=self._before[1:])

    def characters(self, run: int, length: int) -> int:
        """The characters of run number `run`, with the spaces between its words."""
        return int(self._before[run + length] - self._before[run] - self._spaced[run + length - 1])

    def longest(self, length: int) -> int:
        """No run of `length` words has more characters than this; 0: there is none."""
        if self.num_words < length:
            return 0
        return int((self._before[length:] - self._before[: self.num_words - length + 1]).max())

    def passage(self, run: int, length: int) -> tuple[int, int]:
        """Where run number `run` begins and ends in the text."""
        return int(self._census.starts[run]), self._census.end(run + length - 1)

    def commonest(self, length: int) -> tuple[int, int]:
        """How often the commonest run of `length` words occurs, overlapping ones counted, and the first such run.

        Of several that are equally common the one that comes first counts.
        """
        runs, again = self._grouped(length)
        if not again.any():
            return min(len(runs), 1), 0
        heads = np.flatnonzero(~again)
        counts = np.empty_like(heads)
        np.subtract(heads[1:], heads[:-1], out=counts[:-1])
        counts[-1] = len(runs) - heads[-1]
        most = counts.max()
        return int(most), int(runs[heads[counts == most]].min())

    def covered_at_most(self, length: int) -> int:
        """No less than `covered` for this length, from shorter runs if they have been counted before.

        Where a run repeats an earlier one, so do all shorter runs in it.
        """
        shorter = max((known for known in self._groups if known <= length), default=0)
        if not shorter:
            return int(self._before[-1])
        runs, again = self._groups[shorter]
        repeats = np.zeros(len(runs), bool)
        repeats[runs[again]] = True
        for _ in range(length - shorter):
            repeats = repeats[:-1] & repeats[1:]
        return int(np.count_nonzero(repeats)) * self.longest(length)

    def covered(self, length: int) -> int:
        """The characters of words in any run of `length` words that repeats an earlier one; overlaps count once."""
        runs, again = self._grouped(length)
        begins = runs[again]
        if not begins.size:
            return 0
        steps = np.zeros(self.num_words + 1, np.int64)
        steps[begins] = 1
        steps[begins + length] -= 1  # runs begin at different words, so none is written twice
        return int(self._census.lengths[np.cumsum(steps[:-1]) > 0].sum())

    def repeated(self, length: int) -> tuple[int, int]:
        """The characters of words in runs that repeat an earlier one, and the first of these runs; 0, 0 if none.

        The text is read as Gopher's rule asks, no character counting twice: after a run that repeats reading goes on
        behind it, and runs that begin inside it are not read at all.
        """
        runs, again = self._grouped(length)
        groups = np.cumsum(~again)
        alike = again.copy()
        alike[:-1] |= again[1:]
        order = np.argsort(runs[alike])
        ends = np.concatenate([[0], np.cumsum(self._census.lengths)])
        characters, first, following = 0, -1, 0
        read: set[int] = set()
        for run, group in zip(runs[alike][order].tolist(), groups[alike][order].tolist(), strict=True):
            if run < following:
                continue
            if group in read:
                characters += int(ends[run + length] - ends[run])
                following = run + length
                first = run if first < 0 else first
            else:
                read.add(group)
        return characters, max(first, 0)

    def _hash(self, length: int) -> np.ndarray:
        """A hash of each run of `length` words."""
        if length not in self._hashes:
            self._hashes[length] = _hash_halves(self._hash(length // 2), self._hash(length - length // 2), length)
        return self._hashes[length]

    def _grouped(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """All runs in groups of equal ones, each in order; and for each whether it equals the one before it.

        One sort of a hash's high bits with the run's number in the low ones: 44 bits and more tell runs of a text of a
        million words apart.
        """
        if length in self._groups:
            return self._groups[length]
        hashes = self._hash(length)
        bits = np.uint64(len(hashes).bit_length())
        keys = (hashes >> bits << bits) | np.arange(len(hashes), dtype=np.uint64)
        keys.sort()
        heads = keys >> bits
        again = np.zeros(len(keys), bool)
        np.equal(heads[1:], heads[:-1], out=again[1:])
        self._groups[length] = (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64), again
        return self._groups[length]
