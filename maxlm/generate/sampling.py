"""Choosing the next token from logits. The order of the parts is that of `transformers`, and so are their meanings."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from maxlm.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn."""

    temperature: float = 1.0  # 0: always the likeliest
    top_k: int = 0  # only among the k likeliest; 0: all
    top_p: float = 1.0  # only among the likeliest that together have this probability (Holtzman et al., 2020)
    min_p: float = 0.0  # only those with this share of the likeliest's probability (Nguyen et al., 2024, 2407.01082)
    repetition_penalty: float = (
        1.0  # logits of tokens that the row holds: / this, or × it below 0 (Keskar et al., 2019)
    )

    def __post_init__(self) -> None:
        if not self.temperature >= 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise UserError(
                f"temperature {self.temperature} and top-k {self.top_k} must be at least 0, "
                f"top-p {self.top_p} in (0, 1]"
            )
        if not 0 <= self.min_p <= 1 or not self.repetition_penalty > 0:
            raise UserError(
                f"min-p {self.min_p} must be in [0, 1], the repetition penalty {self.repetition_penalty} above 0"
            )


def sample(
    logits_BV: jax.Array, allowed_V: jax.Array, key: jax.Array, sampling: Sampling, held_BV: jax.Array | None = None
) -> jax.Array:
    """Draws a token for each row, int32 `[batch]`.

    Args:
      allowed_V: bool; the others are never drawn.
      held_BV: bool, the tokens that each row holds; for the repetition penalty.
    """
    logits_BV = jnp.where(allowed_V, logits_BV.astype(jnp.float32), -jnp.inf)
    if held_BV is not None and sampling.repetition_penalty != 1:
        penalty = sampling.repetition_penalty
        penalised_BV = jnp.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)
        logits_BV = jnp.where(held_BV, penalised_BV, logits_BV)
    if sampling.temperature == 0:
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    logits_BV = logits_BV / sampling.temperature
    if sampling.top_k:
        kth_B1 = jax.lax.top_k(logits_BV, min(sampling.top_k, logits_BV.shape[-1]))[0][:, -1:]
        logits_BV = jnp.where(logits_BV >= kth_B1, logits_BV, -jnp.inf)
    if sampling.top_p < 1:
        logits_BV = _nucleus(logits_BV, sampling.top_p)
    if sampling.min_p:
        least_B1 = jnp.max(logits_BV, axis=-1, keepdims=True) + jnp.log(sampling.min_p)
        logits_BV = jnp.where(logits_BV >= least_B1, logits_BV, -jnp.inf)
    return jax.random.categorical(key, logits_BV).astype(jnp.int32)


def _nucleus(logits_BV: jax.Array, top_p: float) -> jax.Array:
    """Keeps the smallest set of likeliest tokens whose probability reaches `top_p`; the likeliest always stays."""
    sorted_BV = jnp.sort(logits_BV, axis=-1, descending=True)
    before_BV = jnp.cumsum(jax.nn.softmax(sorted_BV, axis=-1), axis=-1) - jax.nn.softmax(sorted_BV, axis=-1)
    least_B1 = jnp.min(jnp.where(before_BV < top_p, sorted_BV, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits_BV >= least_B1, logits_BV, -jnp.inf)
