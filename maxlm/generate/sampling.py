"""Choosing the next token from logits."""

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

    def __post_init__(self) -> None:
        if not self.temperature >= 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise UserError(
                f"temperature {self.temperature} and top-k {self.top_k} must be at least 0, "
                f"top-p {self.top_p} in (0, 1]"
            )


def sample(logits_BV: jax.Array, allowed_V: jax.Array, key: jax.Array, sampling: Sampling) -> jax.Array:
    """Draws a token for each row, int32 `[batch]`; tokens outside `allowed_V` (bool) are never drawn."""
    logits_BV = jnp.where(allowed_V, logits_BV.astype(jnp.float32), -jnp.inf)
    if sampling.temperature == 0:
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    logits_BV = logits_BV / sampling.temperature
    if sampling.top_k:
        kth_B1 = jax.lax.top_k(logits_BV, min(sampling.top_k, logits_BV.shape[-1]))[0][:, -1:]
        logits_BV = jnp.where(logits_BV >= kth_B1, logits_BV, -jnp.inf)
    if sampling.top_p < 1:
        logits_BV = _nucleus(logits_BV, sampling.top_p)
    return jax.random.categorical(key, logits_BV).astype(jnp.int32)


def _nucleus(logits_BV: jax.Array, top_p: float) -> jax.Array:
    """Keeps the smallest set of likeliest tokens whose probability reaches `top_p`; the likeliest always stays."""
    sorted_BV = jnp.sort(logits_BV, axis=-1, descending=True)
    before_BV = jnp.cumsum(jax.nn.softmax(sorted_BV, axis=-1), axis=-1) - jax.nn.softmax(sorted_BV, axis=-1)
    least_B1 = jnp.min(jnp.where(before_BV < top_p, sorted_BV, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits_BV >= least_B1, logits_BV, -jnp.inf)
