"""Which documents a tokenizer is trained on, and which it is measured on."""

from collections.abc import Iterator

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix import schedule
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.order import by_hash
from maxlm.errors import DataError

_MEASURED_BYTES = 2_000_000  # text of each domain that a tokenizer is measured on


def to_train(config: DataConfig, corpus: Corpus) -> np.ndarray:
    """Ordinals to train on, ascending: of each name of the mixture its share of sample_bytes, in an order by hash."""
    settings, mixture = config.tokenizer, config.mixture
    names, codes = corpus.index.names[mixture.by], corpus.index.codes[mixture.by]
    train = ~corpus.held_out
    sizes = np.bincount(codes[train], weights=corpus.bytes[train], minlength=len(names))
    if not sizes.any():
        raise DataError(f"{corpus.folder}: no text to train a tokenizer on; lower config.produce.holdout")
    budgets = schedule.budgets(schedule.shares(mixture, names, sizes), settings.sample_bytes)
    parts = [
        _up_to(corpus, np.flatnonzero(train & (codes == group)), int(budget), settings.seed)
        for group, budget in enumerate(budgets)
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
    """The names of the languages, "" for none known, and the index of each document's own, `[documents]`."""
    return list(corpus.index.names["language"]), corpus.index.codes["language"]


def is_chinese(corpus: Corpus) -> bool:
    """Whether a hundredth of the text or more is Chinese."""
    names, index = languages(corpus)
    of_language = np.bincount(index, weights=corpus.bytes, minlength=len(names))
    return bool("zh" in names and of_language[names.index("zh")] >= 0.01 * of_language.sum())


def _up_to(corpus: Corpus, members: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Documents of `members` in their hashed order until they hold `size` bytes; the last may exceed it."""
    if not len(members) or size <= 0:
        return np.empty(0, np.int64)
    order = by_hash(members, seed, 0)
    count = int(np.searchsorted(np.cumsum(corpus.bytes[order], dtype=np.int64), size)) + 1
    return order[:count]
