"""The documents of each component together, best first, with all that decides which of them stays."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from etils import epath

from data_pipeline import engine, exchange
from data_pipeline.config import DataConfig, DedupConfig
from data_pipeline.dedup import components, origins, signatures
from data_pipeline.dedup.bands import bands_of, bucket_keys
from data_pipeline.dedup.buckets import digest_keys
from data_pipeline.dedup.origins import Origin, Origins
from data_pipeline.document import ATTRIBUTES
from data_pipeline.engine import Scattered
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

MEMBERS = "corpus/dedup/members"  # rows of SIGNATURE and those below; exchanged by component
_MORE = [("component", pa.int64()), ("score", pa.float64()), ("earlier", pa.bool_())]
_VERSION = 1
_MEMBER_BYTES = 16
# How many standard deviations from its threshold an estimate is in doubt, so that the shingles themselves are compared.
# More above than below: a removal is for good, and of many comparisons the luckiest counts.
_BELOW, _ABOVE = 2.5, 4.0


@dataclass(frozen=True)
class Members:
    """Documents of whole components, in order of rank: what is best comes first."""

    ordinals: np.ndarray  # int64
    ids: pa.ChunkedArray
    earlier: np.ndarray  # bool: never removed
    digests: np.ndarray  # uint64 [members, 2]
    signatures: np.ndarray  # uint32 [members, num_perm]; zeros where there is none
    signed: np.ndarray  # bool
    keys: np.ndarray  # uint64 [members, bands]
    domains: list[str]
    characters: np.ndarray  # int64
    unspaced: np.ndarray  # int64

    def __len__(self) -> int:
        return len(self.ordinals)

    def thresholds(self, config: DedupConfig) -> np.ndarray:
        """Each document's threshold; of two documents' the higher one counts."""
        return np.array([config.thresholds.get(domain, config.threshold) for domain in self.domains], np.float64)


def doubt(thresholds: np.ndarray, num_perm: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest estimate that is so near its threshold that it may err."""
    deviation = np.sqrt(thresholds * (1 - thresholds) / num_perm)  # of a share of num_perm draws
    return thresholds - _BELOW * deviation, thresholds + _ABOVE * deviation


def run(config: DataConfig, dataset: PathLike, found: Origins) -> None:
    """Writes DATASET/corpus/dedup/members.

    Raises:
      DataError: config.dedup.score names no score that stands beside the documents.
    """
    dataset = as_path(dataset)
    if config.dedup.score:
        engine.require(_score_folder(config, dataset), "score")
    stage = engine.Stage("members", (dataset / MEMBERS,), stage_digest(config, dataset), config.runner)
    work = partial(_join_origin, str(dataset), config.dedup.score, found.parts)
    engine.make_partitions(stage, work, found.jobs(), found.size_bytes // _MEMBER_BYTES)


def stage_digest(config: DataConfig, dataset: PathLike) -> str:
    """What the members depend on: signatures, components and scores."""
    inputs: list[PathLike] = [as_path(dataset) / name for name in (components.COMPONENTS, signatures.SIGNATURES)]
    return engine.digest("members", _VERSION, inputs + [_score_folder(config, dataset)] * bool(config.dedup.score))


def _score_folder(config: DataConfig, dataset: PathLike) -> epath.Path:
    return as_path(dataset) / ATTRIBUTES / f"score-{config.dedup.score}"


def _join_origin(dataset: str, score: str, parts: int, origin: Origin) -> tuple[Scattered]:
    labels = exchange.gather(as_path(dataset) / components.COMPONENTS, origin.number)
    ordinals, first = np.unique(labels["ordinal"].to_numpy(), return_index=True)
    signed = engine.read_partition(as_path(dataset) / signatures.SIGNATURES / origin.name)
    rows = np.searchsorted(signed["ordinal"].to_numpy(), ordinals)
    table = signed.take(pa.array(rows))
    table = table.append_column("component", labels["component"].take(pa.array(first)))
    table = table.append_column("score", _scores(dataset, score, origin, origins.place(ordinals)[1]))
    table = table.append_column("earlier", pa.array(np.full(len(ordinals), origin.earlier)))
    return (exchange.scatter(table, "component", parts),)


def _scores(dataset: str, name: str, origin: Origin, rows: np.ndarray) -> pa.Array:
    """The score of each row; minus infinity where there is none."""
    if not name or origin.earlier:
        return pa.array(np.zeros(len(rows)))
    path = origins.attribute_path(dataset, f"score-{name}", origin)
    if "score" not in origins.columns_of(path):
        raise DataError(f"{path}: has no column 'score', which config.dedup.score asks for")
    scores = engine.read_partition(path, ["score"])["score"].take(pa.array(rows)).cast(pa.float64())
    values = scores.to_numpy().copy()
    values[np.isnan(values)] = -math.inf  # nulls have become NaN
    return pa.array(values)


def load(config: DedupConfig, dataset: PathLike, number: int) -> Members:
    """The members of partition `number`, in order of rank."""
    return ranked(config, exchange.gather(as_path(dataset) / MEMBERS, number))


# What stays: what an earlier data set kept, the best score, the longest; then source and id, so that no order of
# arrival counts.
_RANK: Mapping[str, str] = {
    "earlier": "descending",
    "score": "descending",
    "characters": "descending",
    "source": "ascending",
    "id": "ascending",
    "ordinal": "ascending",
}


def ranked(config: DedupConfig, table: pa.Table) -> Members:
    """The documents of a table (rows of SIGNATURE with component, score, earlier) in order of rank."""
    table = table.sort_by(list(_RANK.items()))
    values, signed = signatures.unpacked(table["signature"], config.num_perm)
    spread = np.zeros((table.num_rows, config.num_perm), np.uint32)
    spread[signed] = values
    return Members(
        ordinals=table["ordinal"].to_numpy(),
        ids=table["id"],
        earlier=np.asarray(table["earlier"].combine_chunks()).astype(bool),
        digests=digest_keys(table["digest"]),
        signatures=spread,
        signed=signed,
        keys=bucket_keys(spread, bands_of(config)),
        domains=table["domain"].to_pylist(),
        characters=table["characters"].to_numpy(),
        unspaced=table["unspaced"].to_numpy(),
    )
