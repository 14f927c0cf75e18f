"""Which documents a tokenizer is trained on, and which it is measured on."""

from collections.abc import Iterator

import numpy as np

from data_pipeline import engine
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


def languages(corpus: Corpus) -> tuple[list[str], np.ndarray]:
    """The names of the languages, "" for none known, and the index of each document's own, uint16 `[documents]`."""
    names: list[str] = []
    found = []
    for path in sorted(corpus.folder.glob("*.parquet"), key=lambda path: path.name):
        column = (
            engine.read_partition(path, ["language"])["language"].combine_chunks().fill_null("").dictionary_encode()
        )
        own = column.dictionary.to_pylist()
        names += [name for name in own if name not in names]
        found.append(np.array([names.index(name) for name in own], np.uint16)[column.indices.to_numpy()])
    return names, np.concatenate(found)


def is_chinese(corpus: Corpus) -> bool:
    """Whether a hundredth of the text or more is Chinese."""
    names, index = languages(corpus)
    of_language = np.bincount(index, weights=corpus.bytes, minlength=len(names))
    return bool("zh" in names and of_language[names.index("zh")] >= 0.01 * of_language.sum())


def _up_to(corpus: Corpus, members: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Documents of `members` in their hashed order until they hold `size` bytes; the last may exceed it."""
    if not len(members) or size <= 0:
        return np.empty(0, np.int64)
    order = next(select.in_order(members, np.zeros(len(corpus), np.uint32), seed, 0))
    count = int(np.searchsorted(np.cumsum(corpus.bytes[order]), size)) + 1
    return order[:count]
