"""Which threshold leaves so many tokens: read off from one pass's components, by the estimates of signatures alone.

Tokens are estimated from characters, those of scripts without spaces apart from the others: by the data set's tokenizer
where one stands, on a sample of the documents, else by rule of thumb.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from data_pipeline import engine
from data_pipeline.config import DataConfig, DedupConfig
from data_pipeline.dedup import folding, keep, members, origins, signatures
from data_pipeline.dedup.origins import Origin, Origins
from data_pipeline.document import TOKENIZER
from maxlm.errors import ConfigError
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import INFO_FILE
from maxlm.tokenizer.load import load_tokenizer

THRESHOLDS = "corpus/dedup/thresholds"  # what each threshold removes, for each partition of the members
_LOWEST, _STEP = 0.5, 0.05
# Tokens a character for vocabularies of 50,000 and more: words with their space take about four characters a token,
# Chinese about one and a half.
_SPACED, _UNSPACED = 0.25, 0.65
_SAMPLE = 64  # documents of each origin that the tokenizer is tried on
_VERSION = 1
_MEMBER_BYTES = 2


@dataclass(frozen=True)
class Kept:
    """What a threshold would leave."""

    threshold: float
    documents: int
    tokens: int  # estimated


def serving(config: DedupConfig) -> DedupConfig:
    """The config, with bands that serve every threshold that is tried."""
    return config if config.lowest else replace(config, lowest=min(_LOWEST, config.threshold))


def grid(config: DedupConfig) -> list[float]:
    """The thresholds that are tried: steps from the lowest that the bands serve up to 1, and the config's own."""
    lowest = serving(config).lowest
    steps = [round(i * _STEP, 2) for i in range(1, round(1 / _STEP) + 1)]
    return sorted({lowest, config.threshold, *(step for step in steps if step > lowest)})


def table(config: DataConfig, dataset: PathLike, found: Origins) -> list[Kept]:
    """What each threshold of the grid would leave, of the documents that take part; thresholds of categories stay.

    The stages up to the members must stand, made with `serving(config.dedup)`.
    """
    dataset, tried = as_path(dataset), grid(config.dedup)
    parameters = [_VERSION, keep.COMPARED, tried, dict(sorted(config.dedup.thresholds.items()))]
    digest = engine.digest("thresholds", parameters, [dataset / members.MEMBERS])
    stage = engine.Stage("thresholds", (dataset / THRESHOLDS,), digest, config.runner)
    work = partial(_try, serving(config.dedup), tried, str(dataset))
    engine.make_partitions(stage, work, found.part_jobs(), found.size_bytes // _MEMBER_BYTES)
    all_there, gone = _totals(dataset, found), np.zeros((len(tried), 3))
    for name in found.part_jobs():
        removed = engine.read_partition(dataset / THRESHOLDS / name)
        gone += np.stack([column.to_numpy() for column in removed.columns[1:]], axis=1)
    rates = token_rates(dataset, found)
    left = all_there - gone
    tokens = np.round(left[:, 1:] @ rates)
    return [Kept(tried[i], int(left[i, 0]), int(tokens[i])) for i in range(len(tried))]


def choose(rows: Sequence[Kept], tokens: int) -> Kept:
    """The threshold that leaves nearest to `tokens`; of several the highest.

    Raises:
      ConfigError: no positive number of tokens is asked for.
    """
    if tokens < 1:
        raise ConfigError(f"--target-tokens: {tokens} is less than 1")
    return min(rows, key=lambda row: (abs(row.tokens - tokens), -row.threshold))


def _try(config: DedupConfig, tried: list[float], dataset: str, number: int) -> tuple[pa.Table]:
    part = members.load(config, dataset, number)
    rows = []
    for threshold in tried:
        gone = keep.settle(part, replace(config, threshold=threshold), None).kept >= 0
        spaced = part.characters - part.unspaced
        rows.append((threshold, int(gone.sum()), int(spaced[gone].sum()), int(part.unspaced[gone].sum())))
    return (pa.table(list(map(list, zip(*rows, strict=True))), names=["threshold", "documents", "spaced", "unspaced"]),)


def _totals(dataset: PathLike, found: Origins) -> np.ndarray:
    """Documents, spaced and unspaced characters of this data set that take part."""
    totals = np.zeros(3)
    for name, origin in found.jobs().items():
        if not origin.earlier:
            path = as_path(dataset) / signatures.SIGNATURES / name
            counts = engine.read_partition(path, ["characters", "unspaced"])
            characters, unspaced = (column.to_numpy().sum() for column in counts.columns)
            totals += [counts.num_rows, characters - unspaced, unspaced]
    return totals


def token_rates(dataset: PathLike, found: Origins) -> np.ndarray:
    """Tokens a character: in scripts with spaces, and in those without."""
    folder = as_path(dataset) / TOKENIZER
    if not (folder / INFO_FILE).exists():
        return np.array([_SPACED, _UNSPACED])
    tokenizer = load_tokenizer(folder)
    texts = [text for origin in found.origins if not origin.earlier for text in _sample(origin)]
    unspaced = folding.fold(texts).unspaced
    spaced = np.array([len(text) for text in texts]) - unspaced
    counts = np.array([len(ids) for ids in tokenizer.encode_batch(texts)])
    rates, *_ = np.linalg.lstsq(np.stack([spaced, unspaced], axis=1).astype(float), counts.astype(float))
    # A sample with hardly any text of one kind says nothing of it.
    return np.where([spaced.sum() > 1000, unspaced.sum() > 1000], rates, [_SPACED, _UNSPACED])


def _sample(origin: Origin) -> list[str]:
    """Texts of documents that lie evenly in an origin."""
    rows = engine.read_partition(origin.documents, ["id"]).num_rows
    chosen = np.unique(np.linspace(0, rows - 1, _SAMPLE).astype(int)) if rows else np.empty(0, int)
    return [text for _, _, texts in origins.texts(origin, chosen) for text in texts if text is not None]
