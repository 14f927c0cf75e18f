"""The key/value cache of generation: a plain pytree, stacked over layers like the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from maxlm.models.config import ModelConfig
from maxlm.parallel.axes import spec


class KVCache(NamedTuple):
    """Keys (after RoPE) and values of all positions so far. A row's next token is written at its own position."""

    keys: jax.Array  # [layers, batch, max_len, num_kv_heads, head_dim]
    values: jax.Array  # the same


# Logical names of its dimensions but the layers: rows and heads are split over the mesh, as activations are.
_AXES = ("batch", "positions", "act_kv_heads", "head_dim")


def empty_cache(config: ModelConfig, batch: int, max_len: int) -> KVCache:
    """A cache of `max_len` positions, split over the mesh in force."""
    shape = (config.num_layers, batch, max_len, config.num_kv_heads, config.head_dim)
    mesh = jax.sharding.get_mesh()
    device = None if mesh.empty else jax.NamedSharding(mesh, PartitionSpec(None, *spec(*_AXES)))
    return KVCache(*(jnp.zeros(shape, config.dtype, device=device) for _ in range(2)))
