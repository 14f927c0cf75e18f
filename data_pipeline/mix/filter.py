"""Which documents a stage takes: resolved once against the index, then asked range by range."""

from collections.abc import Callable, Sequence

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix.config import FilterConfig, ScoreRangeConfig
from data_pipeline.mix.index import Index
from data_pipeline.mix.order import places, sample_scores
from data_pipeline.mix.schedule import stages
from maxlm.errors import ConfigError, did_you_mean

Holds = Callable[[int, int], np.ndarray]  # begin, end -> bool [end - begin]


def columns_asked(config: DataConfig) -> tuple[set[str], set[str]]:
    """The scores and the marks that the config's stages go by."""
    scores: set[str] = set()
    marks: set[str] = set()
    for stage in stages(config):
        scores |= {bound.score for bound in stage.filter.scores} | ({stage.order.by} if stage.order else set())
        marks |= {*stage.filter.marks, *stage.filter.without_marks}
    return scores - {"", "length"}, marks


def trainable(index: Index) -> Holds:
    """All documents but those that are held out."""
    return lambda begin, end: ~index.held_out[begin:end]


def resolve(index: Index, config: FilterConfig, by: str) -> Holds:
    """The documents that meet `config`, held out ones left out. `by`: whose names the best are taken of.

    Raises:
      ConfigError: a name that no document has, or a score that none has.
    """
    tables = {name: _table(index, name, getattr(config, f"{name}s")) for name in ("domain", "language", "source")}
    always = _table(index, "source", config.always_sources) if config.always_sources else None
    bounds = [_bound(index, bound, by) for bound in config.scores]

    def holds(begin: int, end: int) -> np.ndarray:
        found = ~index.held_out[begin:end]
        for name, table in tables.items():
            if table is not None:
                found &= table[index.codes[name][begin:end]]
        if config.marks:
            found &= np.any([index.marks[mark][begin:end] for mark in config.marks], axis=0)
        for mark in config.without_marks:
            found &= ~index.marks[mark][begin:end]
        if bounds:
            met = np.all([bound(begin, end) for bound in bounds], axis=0)
            found &= met if always is None else met | always[index.codes["source"][begin:end]]
        return found

    return holds


def check_score(index: Index, key: str, name: str) -> None:
    """Raises ConfigError for a score that no document has."""
    if name != "length" and not any(~np.isnan(index.scores[name][i : i + 1 << 20]).all() for i in _starts(index)):
        raise ConfigError(
            f"{key}: no document has a score {name!r}: score them (config.scores, maxlm-data score) and decide "
            "again, or order by 'length'"
        )


def _starts(index: Index) -> range:
    return range(0, len(index), 1 << 20)


def _table(index: Index, column: str, names: Sequence[str]) -> np.ndarray | None:
    """Which codes are meant, bool `[names]`; None: all."""
    known = index.names[column]
    for name in names:
        if name not in known:
            raise ConfigError(f"config.stages: no documents of {column} {name!r}{did_you_mean(name, known)}")
    return np.isin(known, names) if names else None


def _bound(index: Index, bound: ScoreRangeConfig, by: str) -> Holds:
    check_score(index, "config.stages", bound.score)
    scores, codes = index.score(bound.score), index.codes[by]
    kind = np.float32 if scores.dtype == np.float32 else np.float64  # 0.3 must meet 0.3
    applies = _table(index, "domain", bound.domains)
    best = {}
    if bound.top < 1:
        best = sample_scores(index, bound.score, codes, trainable(index), len(index.names[by]))

    def holds(begin: int, end: int) -> np.ndarray:
        score = np.asarray(scores[begin:end], kind)
        met = ~np.isnan(score)
        if bound.min is not None:
            met &= score >= kind(bound.min)
        if bound.max is not None:
            met &= score <= kind(bound.max)
        for group, sample in best.items():
            of_group = codes[begin:end] == group
            met[of_group] &= places(sample, score[of_group]) >= 1 - bound.top
        return met if applies is None else met | ~applies[index.codes["domain"][begin:end]]

    return holds
