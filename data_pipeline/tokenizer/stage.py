"""Trains the tokenizer of a data set on a sample of its documents, and audits it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from data_pipeline.config import DataConfig
from data_pipeline.document import TOKENIZER
from data_pipeline.mix.corpus import Corpus
from data_pipeline.tokenizer import audit, dirt, sample
from maxlm.blocks.manifest import load_dataset
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, read_json, write_json
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.train import train_model

AUDIT_FILE = "audit.json"
_STRINGS = 1000  # random ones that are tried after training; an audit that is asked for tries more


def run(config: DataConfig, dataset: PathLike) -> dict[str, Any]:
    """Trains config.tokenizer on DATASET/documents and writes DATASET/tokenizer; the same documents, the same bytes.

    The sample holds at most sample_bytes, split by the mixture (as much as there is of a domain that is too small),
    and no document that is held out for validation. Dirt that the sample would teach is left out, and listed.

    Returns:
      The audit (audit.py), also in tokenizer/audit.json; measured on documents that the tokenizer hasn't seen where a
      domain has any.

    Raises:
      DataError: no documents, too little text for the vocabulary, or blocks that stand on another tokenizer.
      ConfigError: sizes or user tokens that can't be, or a domain of the mixture without documents.
    """
    folder = as_path(dataset) / TOKENIZER
    corpus = Corpus(dataset, config.produce.holdout)
    why = dirt.finder(config.tokenizer)
    left_out: dict[str, str] = {}

    def unwanted(piece: str) -> bool:
        if reason := why(piece):
            left_out[piece] = reason
        return bool(reason)

    characters = "gb2312" if audit.wants_characters(config, corpus) else "none"
    settings = dataclasses.replace(config.tokenizer, characters=characters)
    tokenizer = train_model(sample.texts(corpus, sample.to_train(config, corpus)), settings, unwanted)
    _keep_blocks_readable(dataset, tokenizer)
    told = audit.audit(config, corpus, tokenizer, _STRINGS) | {"left_out": left_out}
    with naming_full_disk("the tokenizer", folder):
        tokenizer.save(folder, spare_tokens=settings.spare)
        write_json(folder / AUDIT_FILE, told)
    return told


def run_audit(
    config: DataConfig, dataset: PathLike, compare: Sequence[str] = (), strings: int = _STRINGS
) -> dict[str, Any]:
    """Audits DATASET/tokenizer and writes its audit.json anew. `compare`: files of tokenizers to measure beside it.

    Raises:
      DataError: no documents, no tokenizer, or a file that is none.
    """
    folder = as_path(dataset) / TOKENIZER
    tokenizer = load_tokenizer(folder)
    told = audit.audit(config, Corpus(dataset, config.produce.holdout), tokenizer, strings, compare)
    path = folder / AUDIT_FILE
    before = read_json(path, "audit of a tokenizer") if path.exists() else {}
    kept = {"left_out": before["left_out"]} if before.get("digest") == tokenizer.digest and "left_out" in before else {}
    write_json(path, told | kept)
    return told | kept


def _keep_blocks_readable(dataset: PathLike, tokenizer: Tokenizer) -> None:
    """Refuses to put another tokenizer where blocks were made with the one that stands there."""
    path = as_path(dataset) / "dataset.json"
    if path.exists() and load_dataset(path).tokenizer_digest != tokenizer.digest:
        raise DataError(
            f"{path}: blocks were made with the tokenizer that stands here, and this one differs; "
            "produce into another folder, or remove blocks, validation, ledger and dataset.json first"
        )
