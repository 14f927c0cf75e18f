"""How long a document is, and how long its words are.

Limits by default: Rae et al. 2021 (Gopher), arXiv 2112.11446, section A.1.1: 50 to 100,000 words, of 3 to 10
characters on average, read as datatrove's GopherQualityFilter does (docs/corpus/filters.md).
"""

from dataclasses import dataclass

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.census import PLAIN, census


@dataclass(frozen=True)
class Length(Filter):
    """Drops what is shorter or longer than allowed, in words (Chinese: characters) or in characters; 0: no limit.

    What consists of punctuation and symbols only is no word.
    """

    min_words: int = 50
    max_words: int = 100_000
    min_chars: int = 0
    max_chars: int = 0

    def check(self, draft: Draft) -> Finding | None:
        chars = len(draft.text)
        if chars < self.min_chars:
            return Finding("too_few_characters", chars)
        if self.max_chars and chars > self.max_chars:
            return Finding("too_many_characters", chars)
        if not self.min_words and not self.max_words:
            return None
        words = int(draft.of(census).words_of(PLAIN).sum())
        if words < self.min_words:
            return Finding("too_few_words", words)
        return Finding("too_many_words", words) if self.max_words and words > self.max_words else None


@dataclass(frozen=True)
class WordLength(Filter):
    """Drops text whose words average too short (s p a c e d) or too long (tables, base64). For scripts with spaces."""

    min_mean: float = 3.0  # characters
    max_mean: float = 10.0

    def check(self, draft: Draft) -> Finding | None:
        counted = draft.of(census)
        lengths = counted.lengths[counted.words_of(PLAIN)]
        if not lengths.size:
            return None
        mean = float(lengths.mean())
        if mean < self.min_mean:
            return Finding("words_too_short", mean)
        return Finding("words_too_long", mean) if mean > self.max_mean else None


@dataclass(frozen=True)
class LineLength(Filter):
    """Drops code with lines that no person wrote: data, minified or generated files.

    Limits by default: Chen et al. 2021 (Codex), arXiv 2107.03374, section 3.1: mean above 100, longest above 1000.
    """

    max_mean: float = 100.0  # characters
    max_longest: int = 1000

    def check(self, draft: Draft) -> Finding | None:
        lengths = [len(line) for line in draft.text.splitlines()]
        if not lengths:
            return None
        if (longest := max(lengths)) > self.max_longest:
            return Finding("line_too_long", longest)
        mean = sum(lengths) / len(lengths)
        return Finding("lines_too_long", mean) if mean > self.max_mean else None
