"""Rotary position embedding (Su et al., 2021, arXiv 2104.09864), rotate-half as in Hugging Face's Llama."""

import jax
import jax.numpy as jnp


def frequencies(head_dim: int, base: float) -> jax.Array:
    """Turns per position, ``base^(-2i / head_dim)``, float32 `[head_dim / 2]`."""
    return base ** (-jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim)


def angles(positions_BT: jax.Array, length: int, head_dim: int, base: float) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of every position's angles, float32 `[batch, seq_len, 1, head_dim / 2]`; positions < length.

    Looked up in a table of all positions: computed in place they look so cheap that XLA computes them anew for every
    head of every layer.
    """
    turns = jnp.arange(length, dtype=jnp.float32)[:, None] * frequencies(head_dim, base)
    return jnp.cos(turns)[positions_BT][:, :, None], jnp.sin(turns)[positions_BT][:, :, None]


def rotate(x_BTNH: jax.Array, cos_BT1F: jax.Array, sin_BT1F: jax.Array) -> jax.Array:
    """Turns the pairs (i, i + head_dim / 2) of every head; computed in float32, returned in x's dtype."""
    first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos_BT1F - second * sin_BT1F, second * cos_BT1F + first * sin_BT1F], axis=-1)
    return turned.astype(x_BTNH.dtype)
