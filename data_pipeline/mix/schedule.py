"""Which stage a block belongs to and how its tokens are split: pure functions of the config, sizes, and tokens seen."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix.config import MixtureConfig, OrderConfig, StageConfig, at_tokens
from maxlm.errors import ConfigError, did_you_mean

MAIN = "main"  # the one stage of a run that names none


def stages(config: DataConfig) -> tuple[StageConfig, ...]:
    """The stages of a run, each with a mixture and an order of its own."""
    if not config.stages:
        return (StageConfig(MAIN, tokens=1, mixture=config.mixture, order=config.order),)
    return tuple(
        replace(stage, mixture=stage.mixture or config.mixture, order=stage.order or config.order)
        for stage in config.stages
    )


def mixture_of(stage: StageConfig) -> MixtureConfig:
    return stage.mixture or MixtureConfig()


def order_of(stage: StageConfig) -> OrderConfig:
    return stage.order or OrderConfig()


def stage_of(stages: Sequence[StageConfig], start: int, tokens: int) -> int:
    """The number of the stage that the middle of a block falls into: its length in whole blocks, to the nearest.

    Args:
      start: tokens of the run before the block; tokens: of the block.
    """
    ends = np.cumsum([stage.tokens for stage in stages])
    return min(int(np.searchsorted(ends, start + tokens / 2, side="right")), len(stages) - 1)


def shares(mixture: MixtureConfig, names: Sequence[str], sizes: np.ndarray, seen: float = 0) -> np.ndarray:
    """Each name's share of tokens, summing to 1, float64 `[names]`.

    Args:
      names: all names of what the mixture goes by.
      sizes: bytes of text of each, 0 where there is none.
      seen: tokens of the run so far; for a block the middle of it.

    Raises:
      ConfigError: the mixture names what has no documents.
    """
    check_names(mixture, names, sizes)
    if curves := mixture.curves():
        weights = np.array([at_tokens(curves[name], seen) if name in curves else 0.0 for name in names])
    else:
        weights = np.where(sizes > 0, np.maximum(sizes, 1.0) ** (1 / mixture.temperature), 0.0)
    return weights / weights.sum()


def check_names(mixture: MixtureConfig, names: Sequence[str], sizes: np.ndarray, stage: str = "") -> None:
    """Raises ConfigError for a name in the mixture (of `stage`) that has no documents."""
    present = [name for name, size in zip(names, sizes, strict=True) if size > 0]
    for key, asked, known in (("", mixture.curves(), present), (".max_uses_of", mixture.max_uses_of, names)):
        for name in asked:
            if name not in known:
                where = f" of stage {stage!r}" if stage else ""
                near = did_you_mean(name, known)
                raise ConfigError(f"config.mixture{key}{where}: no documents of {mixture.by} {name!r}{near}")


def caps(mixture: MixtureConfig, names: Sequence[str]) -> np.ndarray:
    """How often a document of each name may be used, int64 `[names]`."""
    found = [mixture.max_uses_of.get(name, mixture.max_uses) for name in names]
    return np.array([uses or np.iinfo(np.int64).max for uses in found], np.int64)


def budgets(share: np.ndarray, tokens: int) -> np.ndarray:
    """Splits `tokens` by `share` to the last token, by largest remainder (ties: the first), int64 `[names]`."""
    # Fractions: with floats the whole parts of 10^13 tokens can sum to more than there are.
    weights = [Fraction(float(part)) for part in share]
    total = sum(weights)
    exact = [weight * tokens / total for weight in weights]
    whole = [math.floor(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in by_remainder[: tokens - sum(whole)]:
        whole[i] += 1
    return np.array(whole, np.int64)


def check_lengths(config: DataConfig, block_tokens: int) -> None:
    """Raises ConfigError for a stage too short for a block, or token budgets that are not the run's or the stage's."""
    end = 0
    for stage in config.stages:
        begin, end = end, end + stage.tokens
        blocks = range(begin // block_tokens, -(-end // block_tokens))
        if not any(begin <= (block + 0.5) * block_tokens < end for block in blocks):  # as in stage_of
            raise ConfigError(
                f"config.stages: {stage.name!r} with {stage.tokens:,} tokens gets no whole block of {block_tokens:,}: "
                "make it longer, or the blocks smaller (config.produce.block_tokens)"
            )
        _check_sum(f"config.stages: the mixture of {stage.name!r}", stage.mixture, stage.tokens, block_tokens)
    if not config.stages:
        _check_sum("config.mixture", config.mixture, config.produce.num_blocks * block_tokens, block_tokens)


def _check_sum(key: str, mixture: MixtureConfig | None, tokens: int, block_tokens: int) -> None:
    asked = sum(mixture.tokens.values()) if mixture else 0
    if asked and tokens and abs(asked - tokens) > block_tokens:
        raise ConfigError(
            f"{key}: the tokens by name sum to {asked:,}, and there are {tokens:,} to split: make them agree, or give "
            "weights, which may sum to anything"
        )
