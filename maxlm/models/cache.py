"""The key/value cache of generation: a plain pytree."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from maxlm.models.config import ModelConfig
from maxlm.parallel.axes import spec


class LayerCache(NamedTuple):
    """Keys (after RoPE) and values of all positions so far. A row's next token is written at its own position.

    Heads stand before positions: so a head's keys lie together, as the product with a query reads them.
    """

    keys: jax.Array  # [batch, num_kv_heads, max_len, head_dim]
    values: jax.Array  # the same


# Not stacked over layers: each is written in its place, where a scan would copy all of them at every step.
KVCache = tuple[LayerCache, ...]

# Logical names of a layer's dimensions: rows and heads are split over the mesh, as activations are.
_AXES = ("batch", "act_kv_heads", "positions", "head_dim")


def empty_cache(config: ModelConfig, batch: int, max_len: int) -> KVCache:
    """A cache of `max_len` positions, split over the mesh in force."""
    shape = (batch, config.num_kv_heads, max_len, config.head_dim)
    mesh = jax.sharding.get_mesh()
    device = None if mesh.empty else jax.NamedSharding(mesh, spec(*_AXES))

    def empty() -> jax.Array:
        return jnp.zeros(shape, config.dtype, device=device)

    return tuple(LayerCache(empty(), empty()) for _ in range(config.num_layers))
