"""The key/value cache of generation: a plain pytree, stacked over layers like the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxlm.models.config import ModelConfig


class KVCache(NamedTuple):
    """Keys (after RoPE) and values of all positions so far. A row's next token is written at its own position."""

    keys: jax.Array  # [layers, batch, max_len, num_kv_heads, head_dim]
    values: jax.Array  # the same


def empty_cache(config: ModelConfig, batch: int, max_len: int) -> KVCache:
    shape = (config.num_layers, batch, max_len, config.num_kv_heads, config.head_dim)
    return KVCache(jnp.zeros(shape, config.dtype), jnp.zeros(shape, config.dtype))
