"""Which copy stays: the best of its cluster, and everything that isn't near-duplicate to a copy that stays."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_pipeline.dedup.clusters import Candidate

EXACT, NEAR = "exact_duplicate", "near_duplicate"


@dataclass(frozen=True)
class Removal:
    """Why a document goes: which kept one it repeats, and their similarity."""

    kept: int  # ordinal
    reason: str
    similarity: float


def rank(candidate: Candidate) -> tuple[int, str, str, int]:
    """What orders copies, best first: length, then source and id, so that no order of arrival counts."""
    return -candidate.characters, candidate.source, candidate.id, candidate.ordinal


def drop_exact(groups: Iterable[Sequence[int]], candidates: Mapping[int, Candidate]) -> dict[int, Removal]:
    """Of each group of equal texts, all but the best."""
    removed = {}
    for group in groups:
        best, *others = sorted(group, key=lambda ordinal: rank(candidates[ordinal]))
        removed |= {other: Removal(best, EXACT, 1.0) for other in others}
    return removed


def drop_near(
    clusters: Iterable[Sequence[int]],
    candidates: Mapping[int, Candidate],
    similarity: Callable[[int, int], float],
    threshold: float,
) -> dict[int, Removal]:
    """Of each cluster, what is near-duplicate to a better document that stays.

    A chain a~b~c whose ends differ loses b only if it resembles the one that stays, and never c for resembling b.
    """
    removed: dict[int, Removal] = {}
    for cluster in clusters:
        kept: list[int] = []
        for ordinal in sorted(cluster, key=lambda ordinal: rank(candidates[ordinal])):
            alike = ((similarity(ordinal, other), other) for other in kept)
            score, nearest = max(alike, key=lambda pair: pair[0], default=(0.0, ordinal))
            if score >= threshold:
                removed[ordinal] = Removal(nearest, NEAR, score)
            else:
                kept.append(ordinal)
    return removed


def follow(exact: Mapping[int, Removal], near: Mapping[int, Removal]) -> dict[int, Removal]:
    """All removals, each pointing at a document that stays: an equal copy of one that goes, goes for its reason."""
    return {**{ordinal: near.get(removal.kept, removal) for ordinal, removal in exact.items()}, **near}
