"""Candidates compared by their real shingles; those that are near-duplicates joined into clusters.

A shared bucket only says "worth comparing". Joining such pairs unseen lets chains of chance matches swallow a corpus,
so every pair that joins two clusters is verified first.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data_pipeline import engine, recipe
from data_pipeline.dedup import signatures
from data_pipeline.document import INGESTED
from maxlm.paths import PathLike, as_path


@dataclass(frozen=True)
class Candidate:
    """A document that shares its digest or a bucket with another."""

    ordinal: int
    id: str
    source: str
    characters: int  # of the text as the recipe leaves it
    shingles: np.ndarray  # empty for a text shorter than a shingle


def load(dataset: PathLike, names: Sequence[str], ordinals: Iterable[int], ngram: int) -> dict[int, Candidate]:
    """Reads the documents of these ordinals, by ordinal."""
    rows: dict[int, list[int]] = {}
    for number in sorted(ordinals):
        partition, row = signatures.place(number)
        rows.setdefault(partition, []).append(row)
    loaded = (_load_partition(dataset, names[partition], partition, rows[partition], ngram) for partition in rows)
    return {candidate.ordinal: candidate for part in loaded for candidate in part}


def _load_partition(dataset: PathLike, name: str, partition: int, rows: list[int], ngram: int) -> list[Candidate]:
    documents = engine.read_partition(as_path(dataset) / INGESTED / name, ["id", "source", "text"]).take(rows)
    cleaned = engine.read_partition(as_path(dataset) / recipe.CLEANED / name, ["text", "reason"]).take(rows)
    texts = [text or "" for text in signatures.kept_texts(documents, cleaned)]
    columns = zip(rows, documents["id"].to_pylist(), documents["source"].to_pylist(), texts, strict=True)
    return [
        Candidate(
            signatures.ordinal(partition, row),
            document_id,
            source,
            len(text),
            signatures.shingles(signatures.normal_words(text), ngram),
        )
        for row, document_id, source, text in columns
    ]


def join(groups: Iterable[Sequence[int]], is_near: Callable[[int, int], bool]) -> list[list[int]]:
    """Clusters of two or more, sorted: connected by pairs within a group for which `is_near` holds.

    Pairs that other pairs have connected already are not compared again, which changes no cluster.
    """
    parents: dict[int, int] = {}

    def root(member: int) -> int:
        while (parent := parents.setdefault(member, member)) != member:
            parents[member] = parents[parent]  # halving the path keeps later walks short
            member = parents[member]
        return member

    for group in groups:
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                if root(a) != root(b) and is_near(a, b):
                    parents[max(root(a), root(b))] = min(root(a), root(b))
    clusters: dict[int, list[int]] = {}
    for member in sorted(parents):
        clusters.setdefault(root(member), []).append(member)
    return sorted(cluster for cluster in clusters.values() if len(cluster) > 1)
