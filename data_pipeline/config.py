"""Everything the data process can be told, with its defaults. Sizes in tokens or characters as named."""

from dataclasses import dataclass, field
from typing import Any, Literal

import ml_collections

from maxlm.config import config_dict
from maxlm.errors import ConfigError


@dataclass(frozen=True)
class SourceConfig:
    """One place that raw text comes from."""

    path: str = "machine"  # a folder, a file, a glob; "machine": the text that every machine with Python has
    name: str = ""  # name of the source in reports; "": made from the path
    domain: str = "auto"  # "auto": code by file name, else the language ("zh", "en", "other")
    # Rows: the column of the text (several, with commas between, are joined); "": text, content or completion
    text_key: str = ""


@dataclass(frozen=True)
class OperatorConfig:
    """One operator of a recipe: its name in data_pipeline/operators/table.py and its parameters."""

    name: str
    domains: tuple[str, ...] = ()  # the domains that it looks at; (): all
    params: dict[str, Any] = field(default_factory=dict)
    action: Literal["drop", "mark"] = "drop"  # "mark": a filter notes its reason in the document's marks instead


@dataclass(frozen=True)
class DedupConfig:
    threshold: float = 0.7  # documents whose shingle sets have at least this Jaccard similarity are near-duplicates
    num_perm: int = 128  # hash functions of a signature; split into bands by the threshold
    ngram: int = 5  # words to a shingle (characters in text without spaces)
    seed: int = 1


@dataclass(frozen=True)
class TokenizerConfig:
    vocab_size: int = 8192  # rows of the embedding, spare slots included; multiple of 128
    spare_tokens: int = 0  # unused slots at the end of the vocabulary, kept for later alignment tokens
    user_tokens: tuple[str, ...] = ()  # strings guaranteed to be one token each
    sample_bytes: int = 50_000_000  # text drawn by the mixture's shares to train on
    seed: int = 0


@dataclass(frozen=True)
class ProduceConfig:
    seq_len: int = 512  # tokens of context; a row holds one more, the last target
    block_tokens: int = 1_000_000_000  # tokens of a block, rounded down to whole multiples of row_multiple rows
    row_multiple: int = 8  # rows of a block are a multiple of this: the training batch, so that none is part empty
    num_blocks: int = 0  # stop after this many; 0: go on until the training run says it's finished
    ahead: int = 2  # finished blocks kept ahead of the training run
    shard_rows: int = 65_536  # rows per array_record file
    holdout: float = 0.01  # share of documents set aside for validation, by the hash of their id
    holdout_tokens: int = 10_000_000  # at most this many of them become the validation block
    seed: int = 0
    poll_s: float = 0.5  # how often to look whether the training run has moved on
    workers: int = 0  # threads that tokenise; 0: one per core; the blocks do not depend on it


@dataclass(frozen=True)
class DataConfig:
    """The root of a data config file."""

    sources: tuple[SourceConfig, ...] = (SourceConfig(),)
    recipe: tuple[OperatorConfig, ...] = ()
    dedup: DedupConfig = DedupConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    mixture: dict[str, float] = field(default_factory=dict)  # domain -> share of tokens; {}: as much as there is
    produce: ProduceConfig = ProduceConfig()
    runner: Literal["native", "ray"] = "native"  # where the engine runs
    partitions: int = 8  # Parquet files that the corpus is kept in

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("config.sources: no source of text is named")
        if self.mixture and any(share <= 0 for share in self.mixture.values()):
            raise ConfigError(f"config.mixture: shares must be positive, found {self.mixture}")
        if self.tokenizer.vocab_size % 128:
            raise ConfigError(f"config.tokenizer.vocab_size: {self.tokenizer.vocab_size} is no multiple of 128")
        if not 0 < self.dedup.threshold <= 1:
            raise ConfigError(f"config.dedup.threshold: {self.dedup.threshold} is outside (0, 1]")
        if self.produce.seq_len < 2 or self.produce.block_tokens < self.produce.seq_len + 1:
            raise ConfigError("config.produce: a block must hold at least one row of seq_len + 1 tokens")
        if not 0 <= self.produce.holdout < 1:
            raise ConfigError(f"config.produce.holdout: {self.produce.holdout} is outside [0, 1)")
        for name in ("row_multiple", "shard_rows"):
            if getattr(self.produce, name) < 1:
                raise ConfigError(f"config.produce.{name}: {getattr(self.produce, name)} is less than 1")


def base() -> ml_collections.ConfigDict:
    """All keys with their defaults, for a config file to change."""
    return config_dict(DataConfig())
