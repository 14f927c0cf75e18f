"""The shift alarm: operators that take one language, domain or source far more than the others.

A rule that is right for one kind of text and wrong for another doesn't show in its total; it shows as a share of one
group that is far above the share of the rest. Both shares are taken with their margins of error (Wilson 1927), so that
small groups raise no alarm by chance.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# An alarm: at least this many more of a hundred documents than of the rest, and this many times the rest's share, with
# at least so many documents on either side.
MIN_DIFFERENCE = 0.10
MIN_RATIO = 2.0
MIN_DOCUMENTS = 30
_Z = 2.576  # 99 % of a normal distribution lie within


@dataclass(frozen=True)
class Alarm:
    """One operator and one group of documents that it takes too much of."""

    label: str  # "language", "domain" or "source"
    name: str  # of the group
    operator: str
    documents: int  # in the group, before anything was removed
    removed: int  # by the operator, of them
    rest_documents: int
    rest_removed: int
    reasons: dict[str, int]  # documents of the group by reason, commonest first

    def sentence(self) -> str:
        """The alarm with its figures, for people."""
        share, rest = self.removed / self.documents, self.rest_removed / self.rest_documents
        because = ", ".join(f"{reason} ({count:,})" for reason, count in self.reasons.items())
        return (
            f"{self.operator} drops {share:.0%} of {self.label} {self.name} ({self.removed:,} of {self.documents:,} "
            f"documents), {rest:.0%} of the rest, because of: {because}"
        )


def alarms(ingested: Mapping[str, Any], removed: Mapping[str, Any]) -> list[Alarm]:
    """All alarms, greatest difference first, given `ingested` and `removed` of a corpus_report."""
    found = [
        alarm
        for label, groups in removed.items()
        for operator in sorted({operator for operators in groups.values() for operator in operators})
        for alarm in _of_operator(label, operator, ingested[label], groups)
    ]
    return sorted(found, key=lambda a: a.rest_removed / a.rest_documents - a.removed / a.documents)


def _of_operator(
    label: str, operator: str, sizes: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]
) -> list[Alarm]:
    total = sum(size["documents"] for size in sizes.values())
    reasons = {
        name: Counter({reason: size["documents"] for reason, size in operators.get(operator, {}).items()})
        for name, operators in groups.items()
    }
    taken = sum(counts.total() for counts in reasons.values())
    found = []
    for name, counts in reasons.items():
        documents, gone = sizes.get(name, {}).get("documents", 0), counts.total()
        rest, rest_gone = total - documents, taken - gone
        if min(documents, rest) >= MIN_DOCUMENTS and _stands_out(gone, documents, rest_gone, rest):
            found.append(Alarm(label, name, operator, documents, gone, rest, rest_gone, dict(counts.most_common())))
    return found


def _stands_out(gone: int, documents: int, rest_gone: int, rest: int) -> bool:
    share, rest_share = gone / documents, rest_gone / rest
    if share - rest_share < MIN_DIFFERENCE or share < MIN_RATIO * rest_share:
        return False
    return wilson(gone, documents)[0] > wilson(rest_gone, rest)[1]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The interval that holds the true share with 99 % confidence (Wilson 1927, equation 8)."""
    share, z2 = successes / trials, _Z**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return centre - half, centre + half
