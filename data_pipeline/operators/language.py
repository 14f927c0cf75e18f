"""Which languages stay."""

from dataclasses import dataclass

from data_pipeline.ingest.language import identify_surely
from data_pipeline.operators.base import Draft, Filter, Finding


@dataclass(frozen=True)
class Language(Filter):
    """Drops what is in none of `languages` (ISO 639 codes), or not surely enough.

    With a `min_confidence` of 0 the language that ingestion noted counts; else the text is looked at again, as it now
    stands. Limit by default: Penedo et al. 2024 (FineWeb), arXiv 2406.17557, section 3: fastText at 0.65.
    """

    languages: tuple[str, ...] = ("zh", "en")
    min_confidence: float = 0.65

    def check(self, draft: Draft) -> Finding | None:
        if not self.min_confidence and draft.language:
            return None if draft.language in self.languages else Finding("other_language")
        found = draft.of(identify_surely)
        if found.language not in self.languages:
            return Finding("other_language", found.confidence)
        return Finding("unsure_language", found.confidence) if found.confidence < self.min_confidence else None
