"""What there is to choose from, in totals: documents and bytes by domain, language, source and the stages taking them.

A billion documents are a few hundred pools. All that is foretold of a run is worked out on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix import schedule
from data_pipeline.mix.filter import check_score, resolve
from data_pipeline.mix.index import Index
from data_pipeline.mix.indexing import NAMED
from data_pipeline.mix.order import pieces
from maxlm.errors import ConfigError, DataError


@dataclass(frozen=True)
class Pools:
    """Documents that nothing in the config tells apart, one entry a pool.

    Attributes:
      names: of "domain", "language" and "source", all names.
      codes: of the same, each pool's index into the names, int64 `[pools]`.
      taken: whether a stage takes the pool, bool `[stages, pools]`.
      documents, bytes: int64 `[pools]`.
    """

    names: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, np.ndarray]
    taken: np.ndarray
    documents: np.ndarray
    bytes: np.ndarray

    def sizes(self, by: str, stage: int) -> np.ndarray:
        """Bytes of text that a stage may take, by the names of `by`, float64 `[names]`."""
        weights = self.bytes * self.taken[stage]
        return np.bincount(self.codes[by], weights, minlength=len(self.names[by]))

    def ratios(self, by: str, domain_ratios: np.ndarray) -> np.ndarray:
        """Bytes per token by the names of `by`, given those of the domains, float64 `[names]`."""
        tokens = self.bytes / domain_ratios[self.codes["domain"]]
        size = len(self.names[by])
        there = np.bincount(self.codes[by], self.bytes, minlength=size)
        return np.maximum(there, 1e-3) / np.maximum(np.bincount(self.codes[by], tokens, minlength=size), 1e-3)


def pools(index: Index, config: DataConfig) -> Pools:
    """Sums up the documents that are trained on.

    Raises:
      ConfigError: a stage's filter or order names what no document has, or leaves nothing.
      DataError: there is no text to train on.
    """
    stages = schedule.stages(config)
    for stage in stages:
        if by := schedule.order_of(stage).by:
            check_score(index, "config.order.by", by)
    holds = [resolve(index, stage.filter, schedule.mixture_of(stage).by) for stage in stages]
    found: dict[tuple[int, ...], list[int]] = {}
    for begin, end in pieces(0, len(index)):
        taken = np.array([hold(begin, end) for hold in holds])
        rows = np.flatnonzero(~index.held_out[begin:end])
        columns = [*(index.codes[name][begin:end][rows].astype(np.int64) for name in NAMED), *taken[:, rows]]
        for key, documents, size in _summed(columns, index.bytes[begin:end][rows]):
            held = found.setdefault(key, [0, 0])
            held[0] += documents
            held[1] += size
    table = np.array([[*key, *held] for key, held in sorted(found.items())], np.int64).reshape(-1, len(stages) + 5).T
    result = Pools(
        names=index.names,
        codes={name: table[i] for i, name in enumerate(NAMED)},
        taken=table[3:-2].astype(bool),
        documents=table[-2],
        bytes=table[-1],
    )
    check(result, config)
    return result


def check(pools: Pools, config: DataConfig) -> None:
    """Raises ConfigError or DataError for mixtures and stages that these documents cannot fill."""
    if not pools.bytes.any():
        raise DataError("no text to train on: there are no documents, or lower config.produce.holdout")
    for number, stage in enumerate(schedule.stages(config)):
        mixture = schedule.mixture_of(stage)
        sizes = pools.sizes(mixture.by, number)
        if not sizes.any():
            raise ConfigError(f"config.stages: the filter of {stage.name!r} leaves no document; widen it")
        schedule.check_names(mixture, pools.names[mixture.by], sizes, stage.name if config.stages else "")


def _summed(columns: list[np.ndarray], sizes: np.ndarray) -> list[tuple[tuple[int, ...], int, int]]:
    """(values, documents, bytes) of each combination of values in the columns."""
    if not len(sizes):
        return []
    widths = [int(column.max()) + 1 for column in columns]
    combined, inverse = np.unique(np.ravel_multi_index(columns, widths), return_inverse=True)
    documents = np.bincount(inverse)
    size = np.bincount(inverse, sizes)
    keys = np.array(np.unravel_index(combined, widths)).T.tolist()
    return [(tuple(key), int(n), int(s)) for key, n, s in zip(keys, documents, size, strict=True)]
