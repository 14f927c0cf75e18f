"""Which documents a block takes: a pure function of the mixture, the uses so far, the seed and the block's number."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np

from data_pipeline.produce.hashing import hashes
from maxlm.errors import ConfigError, did_you_mean


def shares(mixture: Mapping[str, float], domains: Sequence[str], sizes: np.ndarray) -> np.ndarray:
    """Each domain's share of a block's tokens, summing to 1, float64 `[domains]`.

    `mixture`: domain -> weight; {} stands for `sizes`, the bytes of text that each domain has.

    Raises:
      ConfigError: the mixture names a domain that has no documents.
    """
    present = [name for name, size in zip(domains, sizes, strict=True) if size > 0]
    for name in mixture:
        if name not in present:
            raise ConfigError(f"config.mixture: no documents of domain {name!r}{did_you_mean(name, present)}")
    weights = np.array([mixture.get(name, 0.0) for name in domains]) if mixture else sizes.astype(np.float64)
    return weights / weights.sum()


def budgets(share: np.ndarray, tokens: int) -> np.ndarray:
    """Splits `tokens` by `share` to the last token, by largest remainder (ties: the first), int64 `[domains]`."""
    # Fractions: with floats the whole parts of 10^13 tokens can sum to more than there are.
    weights = [Fraction(float(part)) for part in share]
    exact = [weight * tokens / sum(weights) for weight in weights]
    whole = [math.floor(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in by_remainder[: tokens - sum(whole)]:
        whole[i] += 1
    return np.array(whole, np.int64)


def in_order(members: np.ndarray, uses: np.ndarray, seed: int, block: int) -> Iterator[np.ndarray]:
    """Documents of one domain in the order in which a block takes them, in runs, without end.

    Always one of those used least is next, among equals by hash of (seed, block, document). A document that was taken
    counts as used once more: it comes again as soon as all others were used as often.

    Args:
      members: ordinals, ascending `[members]`.
      uses: uses so far, by ordinal `[documents]`.
    """
    order = np.argsort(hashes(members, seed, block, "select"), kind="stable")
    by_hash = members[order]
    used = uses[by_hash]
    level = int(used.min())
    while True:
        yield by_hash[used <= level]
        level += 1
