"""The shingles of documents whose similarity is in doubt, brought to where it is decided.

Requests go to the origins, each of which reads its documents once and sends their shingles back: two exchanges, and
no reading here and there. The shingles of a very long text are sampled by their hashes (the least ones, as in a bottom
sketch: Cohen, Kaplan 2007), the same way in every document, so that what both sampled compares without a bias.
"""

from functools import cached_property, partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline import engine, exchange
from data_pipeline.config import DataConfig, DedupConfig
from data_pipeline.dedup import folding, keep, members, origins
from data_pipeline.dedup.members import Members
from data_pipeline.dedup.origins import Origin, Origins
from data_pipeline.engine import Scattered
from data_pipeline.shingles import hash_strings, jaccard, run_hashes
from maxlm.paths import PathLike, as_path

REQUESTS = "corpus/dedup/requests"  # rows of ordinal, target; sent to the ordinal's origin
SHINGLES = "corpus/dedup/shingles"  # rows of SHINGLE_SET; sent to the target
# `halvings`: how often the set was halved; only hashes below 2**(64 - halvings) are in it. Ascending, each once.
SHINGLE_SET = pa.schema([("ordinal", pa.int64()), ("halvings", pa.int64()), ("hashes", pa.large_list(pa.uint64()))])
_VERSION = 1
_MEMBER_BYTES = 16
_FEW = 8  # sets that are held against another one by one: numbering all shingles of a part takes longer


def run(config: DataConfig, dataset: PathLike, found: Origins) -> None:
    """Writes DATASET/corpus/dedup/shingles: all sets that the decision will ask for."""
    dataset = as_path(dataset)
    dedup = config.dedup
    stage = engine.Stage("doubtful pairs", (dataset / REQUESTS,), request_digest(config, dataset), config.runner)
    ask = partial(_ask, dedup, str(dataset), len(found))
    engine.make_partitions(stage, ask, found.part_jobs(), found.size_bytes // _MEMBER_BYTES)
    stage = engine.Stage("shingles", (dataset / SHINGLES,), stage_digest(config, dataset), config.runner)
    answer = partial(_answer, dedup, str(dataset), found.parts)
    engine.make_partitions(stage, answer, found.jobs(), found.size_bytes // _MEMBER_BYTES)


def request_digest(config: DataConfig, dataset: PathLike) -> str:
    """What the requests depend on: the members and the thresholds."""
    parameters = [_VERSION, config.dedup.threshold, dict(sorted(config.dedup.thresholds.items())), keep.COMPARED]
    return engine.digest("requests", parameters, [as_path(dataset) / members.MEMBERS])


def stage_digest(config: DataConfig, dataset: PathLike) -> str:
    """What the shingle sets depend on: the requests."""
    parameters = [_VERSION, config.dedup.ngram, config.dedup.max_shingles]
    return engine.digest("shingles", parameters, [as_path(dataset) / REQUESTS])


def _ask(config: DedupConfig, dataset: str, num_origins: int, number: int) -> tuple[Scattered]:
    part = members.load(config, dataset, number)
    ordinals = np.sort(part.ordinals[keep.survey(part, config)])
    rows = pa.table({"ordinal": ordinals, "target": np.full(len(ordinals), number)})
    return (exchange.send(rows, origins.place(ordinals)[0], num_origins),)


def _answer(config: DedupConfig, dataset: str, parts: int, origin: Origin) -> tuple[Scattered]:
    asked = exchange.gather(as_path(dataset) / REQUESTS, origin.number)
    ordinals = asked["ordinal"].to_numpy()
    order = np.argsort(ordinals)
    ordinals, targets = ordinals[order], asked["target"].to_numpy()[order]
    tables = [SHINGLE_SET.empty_table()]
    if len(ordinals):
        for rows, _, texts in origins.texts(origin, origins.place(ordinals)[1]):
            sets = [sampled(one, config.max_shingles) for one in shingle_sets(texts, config.ngram)]
            bounds = np.cumsum([0, *(len(hashes) for hashes, _ in sets)])
            hashes = pa.LargeListArray.from_arrays(bounds, np.concatenate([hashes for hashes, _ in sets]))
            halvings = pa.array([count for _, count in sets], pa.int64())
            tables.append(pa.table([origins.ordinals(origin, rows), halvings, hashes], schema=SHINGLE_SET))
    return (exchange.send(pa.concat_tables(tables), targets, parts),)


def shingle_sets(texts: list[str | None], ngram: int) -> list[np.ndarray]:
    """The shingles of each text as hashes, ascending, each once."""
    folded = folding.fold([text or "" for text in texts])
    words = pc.call_function("split_pattern", [folded.texts], pc.SplitPatternOptions(" "))
    bounds = words.offsets.to_pylist()
    # Runs that reach from one text into the next are left out.
    runs = run_hashes(hash_strings(words.flatten()), ngram)
    return [_set_of(runs[a : max(a, b - ngram + 1)]) for a, b in pairwise(bounds)]


def _set_of(hashes: np.ndarray) -> np.ndarray:
    hashes = np.sort(hashes)
    return hashes[np.append(hashes[:-1] != hashes[1:], True)] if len(hashes) else hashes


def sampled(hashes: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """At most about `most` of a set's hashes, and how often it was halved for that."""
    halvings = 0
    while len(hashes) > most:
        halvings += 1
        hashes = hashes[: np.searchsorted(hashes, np.uint64(1 << (64 - halvings)))]
    return hashes, halvings


class ShingleSets:
    """The sets that were sent to one partition; answers how similar members are, as keep.Exact."""

    def __init__(self, part: Members, table: pa.Table):
        table = table.combine_chunks()
        count = len(part)
        self._halvings = np.full(count, -1)  # -1: not known
        self._bounds = np.zeros((count, 2), np.int64)
        order = np.argsort(part.ordinals)
        places = order[np.searchsorted(part.ordinals, table["ordinal"].to_numpy(), sorter=order)]
        self._halvings[places] = table["halvings"].to_numpy()
        hashes = table["hashes"].combine_chunks()
        offsets = hashes.offsets.to_numpy() if len(hashes) else np.zeros(1, np.int64)
        self._bounds[places] = np.stack([offsets[:-1], offsets[1:]], axis=1)
        self._hashes = hashes.values.to_numpy() if len(hashes) else np.empty(0, np.uint64)

    def similarity(self, member: int, mates: np.ndarray) -> np.ndarray:
        """The Jaccard similarity of `member` and each of `mates`; NaN where a set is not known."""
        result = np.full(len(mates), np.nan)
        if self._halvings[member] < 0:
            return result
        one_by_one = self._halvings[mates] >= 0
        if len(mates) > _FEW:
            alike = self._halvings[mates] == self._halvings[member]
            result[alike] = self._at_once(member, mates[alike])
            one_by_one &= ~alike
        for place in np.flatnonzero(one_by_one).tolist():
            result[place] = self._sampled_alike(member, int(mates[place]))
        return result

    @cached_property
    def _numbers(self) -> np.ndarray:
        """All shingles as numbers from 0, so that one set can be held against many by marking its own."""
        return np.unique(self._hashes, return_inverse=True)[1]

    @cached_property
    def _marked(self) -> np.ndarray:
        return np.zeros(len(self._hashes), bool)

    def _at_once(self, member: int, mates: np.ndarray) -> np.ndarray:
        own = self._numbers[slice(*self._bounds[member])]
        lengths = self._bounds[mates, 1] - self._bounds[mates, 0]
        theirs = np.concatenate([self._numbers[slice(*self._bounds[mate])] for mate in mates])
        self._marked[own] = True
        sums = np.concatenate([[0], np.cumsum(self._marked[theirs])])
        self._marked[own] = False
        ends = np.cumsum(lengths)
        shared = sums[ends] - sums[ends - lengths]
        return shared / np.maximum(len(own) + lengths - shared, 1)

    def _sampled_alike(self, a: int, b: int) -> float:
        halvings = int(max(self._halvings[a], self._halvings[b]))
        limit = np.uint64((1 << (64 - halvings)) - 1)
        one, other = (self._hashes[slice(*self._bounds[member])] for member in (a, b))
        return jaccard(*(part[: np.searchsorted(part, limit, side="right")] for part in (one, other)))
