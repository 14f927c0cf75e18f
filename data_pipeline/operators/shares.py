"""What a document's characters are: letters, Chinese or Latin ones, digits, punctuation and symbols."""

from dataclasses import dataclass

from data_pipeline.operators.base import Draft, Filter, Finding
from data_pipeline.operators.census import ALPHANUMERIC, DIGIT, HAN_LETTER, LATIN_LETTER, LETTER, SPACE, census


@dataclass(frozen=True)
class CharacterShares(Filter):
    """Drops text by shares of its characters other than white space; limits of 0 and 1 check nothing.

    No published rule holds for all domains: look at what `maxlm-data inspect --removed` shows before tightening.
    """

    min_letters: float = 0.0
    min_zh: float = 0.0  # Han characters
    max_zh: float = 1.0
    min_en: float = 0.0  # Latin letters, with accents or without
    max_en: float = 1.0
    max_digits: float = 1.0
    max_marks: float = 1.0  # punctuation and symbols

    def check(self, draft: Draft) -> Finding | None:
        counted = draft.of(census)
        total = counted.num_characters - counted.num_of(SPACE)
        if not total:
            return None
        for kind, what, least, most in (
            (LETTER, "letters", self.min_letters, 1.0),
            (HAN_LETTER, "zh_characters", self.min_zh, self.max_zh),
            (LATIN_LETTER, "en_letters", self.min_en, self.max_en),
            (DIGIT, "digits", 0.0, self.max_digits),
        ):
            if least > 0 or most < 1:
                share = counted.num_of(kind) / total
                if share < least:
                    return Finding(f"too_few_{what}", share)
                if share > most:
                    return Finding(f"too_many_{what}", share)
        marks = (total - counted.num_of(ALPHANUMERIC)) / total if self.max_marks < 1 else 0.0
        return Finding("too_many_marks", marks) if marks > self.max_marks else None
