"""Deduplication from signatures to the decision what to drop."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa

from data_pipeline import decide, engine
from data_pipeline.config import DataConfig
from data_pipeline.dedup import bands, clusters, keep, signatures
from data_pipeline.document import ATTRIBUTES, INGESTED
from maxlm.paths import PathLike, as_path

DEDUPED = f"{ATTRIBUTES}/dedup"
# Same rows as the documents. `kept` is the id of the document that this one repeats; all null where it stays.
DEDUP_ATTRIBUTES = pa.schema(
    [
        ("id", pa.string()),
        ("operator", pa.string()),
        ("reason", pa.string()),
        ("kept", pa.string()),
        ("similarity", pa.float64()),
    ]
)
_VERSION = 1


def run(config: DataConfig, dataset: PathLike) -> None:
    """Finds exact and near-duplicates, then writes what stays to DATASET/documents and what goes to DATASET/removed.

    Raises:
      DataError: ingest or clean hasn't been run with this config, or nothing is left.
    """
    signatures.run(config, dataset)
    dataset = as_path(dataset)
    names = engine.require(dataset / INGESTED, "ingest")
    digest = engine.digest("dedup", [_VERSION, asdict(config.dedup)], [dataset / signatures.SIGNATURES])
    stage = engine.Stage("dedup", (dataset / DEDUPED,), digest)
    if not engine.is_complete(dataset / DEDUPED, digest):
        removals, ids = find_duplicates(config, dataset, names)
        jobs = {name: _attributes(dataset, name, number, removals, ids) for number, name in enumerate(names)}
        engine.make_partitions(stage, _as_made, jobs, size_bytes=0)
    decide.run(config, dataset)


def find_duplicates(
    config: DataConfig, dataset: PathLike, names: Sequence[str]
) -> tuple[dict[int, keep.Removal], dict[int, str]]:
    """The documents to remove, by ordinal, and the ids of all that were compared."""
    folder = as_path(dataset) / signatures.SIGNATURES
    equal = bands.documents_sharing("digest", folder, config.runner)
    near = bands.documents_sharing("buckets", folder, config.runner)
    ordinals = {ordinal for group in equal + near for ordinal in group}
    candidates = clusters.load(dataset, names, ordinals, config.dedup.ngram)

    def similarity(a: int, b: int) -> float:
        return signatures.jaccard(candidates[a].shingles, candidates[b].shingles)

    threshold = config.dedup.threshold
    exact = keep.drop_exact(equal, candidates)
    left = [[ordinal for ordinal in group if ordinal not in exact] for group in near]
    joined = clusters.join(left, lambda a, b: similarity(a, b) >= threshold)
    removals = keep.follow(exact, keep.drop_near(joined, candidates, similarity, threshold))
    return removals, {ordinal: candidate.id for ordinal, candidate in candidates.items()}


def _attributes(
    dataset: PathLike, name: str, partition: int, removals: Mapping[int, keep.Removal], ids: Mapping[int, str]
) -> pa.Table:
    """The attributes of one partition."""
    rows = []
    documents = engine.read_partition(as_path(dataset) / INGESTED / name, ["id"])
    for row, document_id in enumerate(documents["id"].to_pylist()):
        attributes = {"id": document_id}
        if removal := removals.get(signatures.ordinal(partition, row)):
            attributes |= {"operator": "dedup", "reason": removal.reason}
            attributes |= {"kept": ids[removal.kept], "similarity": removal.similarity}
        rows.append(attributes)
    return pa.Table.from_pylist(rows, schema=DEDUP_ATTRIBUTES)


def _as_made(table: pa.Table) -> tuple[pa.Table]:
    return (table,)
