"""Indexes made up for tests, without documents behind them, and a selection that is slow and plain to compare with."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_pipeline.mix.hashing import hashes
from data_pipeline.mix.index import Index
from data_pipeline.mix.order import RANK_BITS


def index(
    domains: Sequence[str],
    *,
    sources: Sequence[str] | None = None,
    languages: Sequence[str] | None = None,
    size: Sequence[int] | None = None,
    cluster: Sequence[int] | None = None,
    held_out: Sequence[bool] | None = None,
    scores: Mapping[str, Sequence[float]] | None = None,
    marks: Mapping[str, Sequence[bool]] | None = None,
    row_groups: Sequence[int] | None = None,
) -> Index:
    """One document for each of `domains`."""
    count = len(domains)
    named = {"domain": domains, "language": languages or ["xx"] * count, "source": sources or domains}
    names = {key: tuple(sorted(set(values))) for key, values in named.items()}
    return Index(
        names=names,
        codes={key: np.array([names[key].index(v) for v in values], np.uint8) for key, values in named.items()},
        bytes=np.array(size if size is not None else [100] * count, np.uint32),
        cluster=np.array(cluster if cluster is not None else [0] * count, np.uint32),
        held_out=np.array(held_out if held_out is not None else [False] * count, bool),
        row_groups=np.array(row_groups if row_groups is not None else [0, count], np.int64),
        scores={name: np.array(values, np.float32) for name, values in (scores or {}).items()},
        marks={name: np.array(values, bool) for name, values in (marks or {}).items()},
    )


def plain_order(
    members: Sequence[int],
    uses: Sequence[int],
    *,
    cluster: Sequence[int],
    decay: float,
    cap: int,
    seed: int,
    block: int,
    recent: Sequence[Sequence[int]] | None,
    taken_clusters: set[int],
) -> Iterator[int]:
    """The documents of a group one by one, by the rules as they are written down; slow."""
    seen, again = set(taken_clusters), dict.fromkeys(members, 0)
    keys = {m: cluster[m] or (1 << 32) + m for m in members}
    age = {}
    for number, ordinals in enumerate(recent or ()):
        for ordinal in ordinals:
            age.setdefault(cluster[ordinal] or (1 << 32) + ordinal, number)
    last = len(recent or ()) + 1
    while True:
        lap = {m: again[m] if decay else uses[m] + again[m] for m in members if uses[m] + again[m] < cap}
        if not lap:
            return

        def place(m: int) -> tuple:
            late = recent is not None and (again[m] > 0 or cluster[m] in seen)
            past = len(recent) - age[keys[m]] if recent is not None and keys[m] in age else 0
            number = m | (again[m] << 44) if decay else m
            rank = int(hashes(np.array([number]), seed, block, "select")[0]) >> (64 - RANK_BITS)
            weight = decay ** uses[m] if decay else 1.0
            key = -math.log((rank + 0.5) / 2**RANK_BITS) / weight if decay else rank
            return last if late else past, key, m

        lowest = min(lap.values())
        chosen = min((m for m in lap if lap[m] == lowest), key=place)
        yield chosen
        again[chosen] += 1
        if cluster[chosen]:
            seen.add(cluster[chosen])
