"""What becomes of each document, back beside it: the attributes that the one decision reads."""

from functools import partial

import numpy as np
import pyarrow as pa

from data_pipeline import engine, exchange
from data_pipeline.config import DataConfig, DedupConfig
from data_pipeline.dedup import exact, keep, members, origins
from data_pipeline.dedup.exact import ShingleSets
from data_pipeline.dedup.members import Members
from data_pipeline.dedup.origins import Origin, Origins
from data_pipeline.document import ATTRIBUTES
from data_pipeline.engine import Scattered
from maxlm.paths import PathLike, as_path

DEDUPED = f"{ATTRIBUTES}/dedup"
VERDICTS = "corpus/dedup/verdicts"  # rows of ordinal and those of VERDICT; sent to the ordinal's origin
EXACT, NEAR = "exact_duplicate", "near_duplicate"
# `kept`: id of the document that this one repeats; all null where it stays. `cluster`: id of the best of those that
# are near-duplicates, or within the estimate's error of it, also where several of them stay; null where it is alone.
VERDICT = [
    ("reason", pa.string()),
    ("kept", pa.string()),
    ("similarity", pa.float64()),
    ("cluster", pa.string()),
]
# Same rows as the documents.
DEDUP_ATTRIBUTES = pa.schema([("id", pa.string()), ("operator", pa.string()), *VERDICT])
_VERSION = 2
_MEMBER_BYTES = 16


def run(config: DataConfig, dataset: PathLike, found: Origins) -> None:
    """Writes DATASET/corpus/attributes/dedup."""
    dataset = as_path(dataset)
    stage = engine.Stage("verdicts", (dataset / VERDICTS,), verdict_digest(dataset), config.runner)
    settle = partial(_settle, config.dedup, str(dataset), len(found))
    engine.make_partitions(stage, settle, found.part_jobs(), found.size_bytes // _MEMBER_BYTES)
    stage = engine.Stage("dedup", (dataset / DEDUPED,), stage_digest(dataset), config.runner)
    jobs = {as_path(origin.documents).name: origin for origin in found.origins if not origin.earlier}
    write = partial(_write, str(dataset))
    engine.make_partitions(stage, write, jobs, found.size_bytes // _MEMBER_BYTES)


def verdict_digest(dataset: PathLike) -> str:
    """What the verdicts depend on: members and shingle sets."""
    return engine.digest("verdicts", _VERSION, [as_path(dataset) / name for name in (exact.SHINGLES, members.MEMBERS)])


def stage_digest(dataset: PathLike) -> str:
    """What the attributes depend on: the verdicts."""
    return engine.digest("dedup", _VERSION, [as_path(dataset) / VERDICTS])


def _settle(config: DedupConfig, dataset: str, num_origins: int, number: int) -> tuple[Scattered]:
    part = members.load(config, dataset, number)
    sets = ShingleSets(part, exchange.gather(as_path(dataset) / exact.SHINGLES, number))
    table = verdicts(part, keep.settle(part, config, sets.similarity))
    return (exchange.send(table, origins.place(table["ordinal"].to_numpy())[0], num_origins),)


def verdicts(part: Members, outcome: keep.Outcome) -> pa.Table:
    """Rows for those members of this data set of which there is something to say."""
    sizes = np.bincount(outcome.cluster, minlength=len(part))
    said = np.flatnonzero(~part.earlier & (sizes[outcome.cluster] > 1))
    kept, similarity = outcome.kept[said], outcome.similarity[said]
    goes = kept >= 0
    same = (part.digests[said] == part.digests[np.maximum(kept, 0)]).all(axis=1)
    reason = np.where(same, EXACT, NEAR)
    return pa.table(
        [
            part.ordinals[said],
            pa.array(reason, pa.string(), mask=~goes),
            part.ids.take(pa.array(kept, pa.int64(), mask=~goes)),
            pa.array(similarity, pa.float64(), mask=~goes),
            part.ids.take(pa.array(outcome.cluster[said], pa.int64())),
        ],
        schema=pa.schema([("ordinal", pa.int64()), *VERDICT]),
    )


def _write(dataset: str, origin: Origin) -> tuple[pa.Table]:
    told = exchange.gather(as_path(dataset) / VERDICTS, origin.number)
    ids = engine.read_partition(origin.documents, ["id"])["id"]
    rows = origins.place(told["ordinal"].to_numpy())[1]
    places = np.full(len(ids), -1)
    places[rows] = np.arange(len(rows))
    spread = told.select([name for name, _ in VERDICT]).take(pa.array(places, pa.int64(), mask=places < 0))
    operator = pa.array(np.full(len(ids), "dedup"), pa.string(), mask=np.asarray(spread["reason"].is_null()))
    columns = [ids, operator, *spread.columns]
    return (pa.table(columns, schema=DEDUP_ATTRIBUTES),)
