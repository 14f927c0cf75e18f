"""Which documents a tokenizer is trained on, and which it is measured on."""

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from data_pipeline.config import DataConfig
from data_pipeline.produce import select
from data_pipeline.produce.corpus import Corpus
from maxlm.errors import DataError

_MEASURED_BYTES = 2_000_000  # text of each domain that a tokenizer is measured on


def to_train(config: DataConfig, corpus: Corpus) -> np.ndarray:
    """Ordinals to train on, ascending: of each domain its share of sample_bytes, in an order by hash of the seed."""
    settings = config.tokenizer
    train = ~corpus.held_out
    sizes = np.bincount(corpus.domain[train], weights=corpus.bytes[train], minlength=len(corpus.domains))
    if not sizes.any():
        raise DataError(f"{corpus.folder}: no text to train a tokenizer on; lower config.produce.holdout")
    share = select.shares(config.mixture, corpus.domains, sizes)
    budgets = select.budgets(share, settings.sample_bytes)
    parts = [
        _up_to(corpus, np.flatnonzero(train & (corpus.domain == domain)), int(budget), settings.seed)
        for domain, budget in enumerate(budgets)
    ]
    return np.sort(np.concatenate(parts))


def to_measure(corpus: Corpus, trained: np.ndarray, seed: int) -> np.ndarray:
    """Ordinals to measure on, ascending: of each domain held out ones, else such as training left out, else any."""
    unseen = np.ones(len(corpus), bool)
    unseen[trained] = False
    chosen = [np.empty(0, np.int64)]
    for domain in range(len(corpus.domains)):
        of_domain = corpus.domain == domain
        members = next(m for m in (of_domain & corpus.held_out, of_domain & unseen, of_domain) if m.any())
        chosen.append(_up_to(corpus, np.flatnonzero(members), _MEASURED_BYTES, seed))
    return np.sort(np.concatenate(chosen))


def texts(corpus: Corpus, ordinals: np.ndarray) -> Iterator[str]:
    """The texts of documents, in the order of their ordinals."""
    for _, batch in corpus.texts(ordinals):
        yield from batch


def languages(corpus: Corpus) -> np.ndarray:
    """The language of each document, `[documents]`; "" where none is known."""
    paths = sorted(corpus.folder.glob("*.parquet"), key=lambda path: path.name)
    found = [pq.read_table(str(path), columns=["language"])["language"].to_pylist() for path in paths]
    return np.array([language or "" for column in found for language in column], object)


def is_chinese(corpus: Corpus) -> bool:
    """Whether a hundredth of the text or more is Chinese."""
    chinese = languages(corpus) == "zh"
    return bool(corpus.bytes[chinese].sum() >= 0.01 * corpus.bytes.sum())


def _up_to(corpus: Corpus, members: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Documents of `members` in their hashed order until they hold `size` bytes; the last may exceed it."""
    if not len(members) or size <= 0:
        return np.empty(0, np.int64)
    order = next(select.in_order(members, np.zeros(len(corpus), np.uint32), seed, 0))
    count = int(np.searchsorted(np.cumsum(corpus.bytes[order]), size)) + 1
    return order[:count]
