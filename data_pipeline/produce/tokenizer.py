"""Trains the tokenizer of a data set on a sample of its documents, and measures what it makes of each domain."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.document import TOKENIZER
from data_pipeline.mix import schedule
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.order import by_hash
from maxlm.blocks.manifest import load_dataset
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, write_json
from maxlm.tokenizer.spm import Tokenizer
from maxlm.tokenizer.train import train_model

_AUDIT_BYTES = 2_000_000  # text of each domain that compression is measured on


def run(config: DataConfig, dataset: PathLike) -> dict[str, Any]:
    """Trains config.tokenizer on DATASET/documents and writes DATASET/tokenizer; the same documents, the same bytes.

    The sample holds at most sample_bytes, split by the mixture (as much as there is of a domain that is too small),
    and no document that is held out for validation.

    Returns:
      Domain -> {"bytes", "chars", "tokens", "bytes_per_token", "chars_per_token"}, also in tokenizer/audit.json;
      measured on documents that the tokenizer hasn't seen where a domain has any.

    Raises:
      DataError: no documents, too little text for the vocabulary, or blocks that stand on another tokenizer.
      ConfigError: sizes or user tokens that can't be, or a name in the mixture without documents.
    """
    settings, folder = config.tokenizer, as_path(dataset) / TOKENIZER
    corpus = Corpus(dataset, config.produce.holdout)
    sample = draw_sample(config, corpus)
    tokenizer = train_model(
        _texts(corpus, sample),
        vocab_size=settings.vocab_size,
        spare_tokens=settings.spare_tokens,
        user_tokens=settings.user_tokens,
    )
    _keep_blocks_readable(dataset, tokenizer)
    audit = {
        name: compression(tokenizer, _texts(corpus, _to_measure(corpus, index, sample, settings.seed)))
        for index, name in enumerate(corpus.domains)
    }
    with naming_full_disk("the tokenizer", folder):
        tokenizer.save(folder, spare_tokens=settings.spare_tokens, user_tokens=list(settings.user_tokens))
        write_json(folder / "audit.json", {"domains": audit, "sample_bytes": int(corpus.bytes[sample].sum())})
    return audit


def draw_sample(config: DataConfig, corpus: Corpus) -> np.ndarray:
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


def compression(tokenizer: Tokenizer, texts: Iterator[str]) -> dict[str, float]:
    """How many bytes and characters a token stands for, BOS and EOS left out."""
    size = chars = tokens = 0
    for text in texts:
        size += len(text.encode())
        chars += len(text)
        tokens += len(tokenizer.encode(text))
    return {
        "bytes": size,
        "chars": chars,
        "tokens": tokens,
        "bytes_per_token": round(size / max(1, tokens), 4),
        "chars_per_token": round(chars / max(1, tokens), 4),
    }


def _up_to(corpus: Corpus, members: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Documents of `members` in their hashed order until they hold `size` bytes; the last may exceed it."""
    if not len(members) or size <= 0:
        return np.empty(0, np.int64)
    order = by_hash(members, seed, 0)
    count = int(np.searchsorted(np.cumsum(corpus.bytes[order], dtype=np.int64), size)) + 1
    return order[:count]


def _to_measure(corpus: Corpus, domain: int, sample: np.ndarray, seed: int) -> np.ndarray:
    """Documents of a domain to measure on, ascending: held out ones, else such as training left out, else any."""
    of_domain = corpus.domain == domain
    unseen = np.ones(len(corpus), bool)
    unseen[sample] = False
    for choice in (of_domain & corpus.held_out, of_domain & unseen, of_domain):
        if choice.any():
            return np.sort(_up_to(corpus, np.flatnonzero(choice), _AUDIT_BYTES, seed))
    return np.empty(0, np.int64)


def _texts(corpus: Corpus, ordinals: np.ndarray) -> Iterator[str]:
    for _, texts in corpus.texts(ordinals):
        yield from texts


def _keep_blocks_readable(dataset: PathLike, tokenizer: Tokenizer) -> None:
    """Refuses to put another tokenizer where blocks were made with the one that stands there."""
    path = as_path(dataset) / "dataset.json"
    if path.exists() and load_dataset(path).tokenizer_digest != tokenizer.digest:
        raise DataError(
            f"{path}: blocks were made with the tokenizer that stands here, and this one differs; "
            "produce into another folder, or remove blocks, validation, ledger and dataset.json first"
        )
