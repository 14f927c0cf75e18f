"""The parts of a decoder block. Single-device code: how tensors are split stands in maxlm/parallel/axes.py.

Letters: B batch, T query position, S key position, N query heads, K key/value heads, H head_dim, D embed, F mlp.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from maxlm.models import kernels, rope
from maxlm.models.cache import KVCache
from maxlm.models.config import ModelConfig
from maxlm.models.linear import linear
from maxlm.parallel.axes import constrain


class Places(NamedTuple):
    """Where the tokens of a batch stand, the same for all layers."""

    positions: jax.Array  # int32 [batch, seq_len], counted within the segment
    segments: jax.Array  # int32 [batch, seq_len]
    angles: tuple[jax.Array, jax.Array]  # of the positions: rope.angles


def weight(rngs: nnx.Rngs, shape: tuple[int, ...], axes: tuple[str, ...], std: float) -> nnx.Param:
    """A float32 parameter, normal with `std`; `axes` are the logical names of its dimensions."""
    return nnx.Param(jax.random.normal(rngs.params(), shape) * std, axes=axes)


class RMSNorm(nnx.Module):
    """Zhang and Sennrich, 2019 (arXiv 1910.07467). Computed in float32."""

    def __init__(self, width: int, eps: float):
        self.eps = eps
        self.scale = nnx.Param(jnp.ones(width), axes=("norm",))

    def __call__(self, x: jax.Array) -> jax.Array:
        x32 = x.astype(jnp.float32)
        normed = x32 * jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + self.eps)
        return (normed * self.scale[...]).astype(x.dtype)


class Attention(nnx.Module):
    """Causal grouped-query attention with RoPE (Ainslie et al., 2023, arXiv 2305.13245)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, N, K, H = config.embed, config.num_heads, config.num_kv_heads, config.head_dim
        std = config.init_std
        self.config = config
        self.query = weight(rngs, (D, N, H), ("embed", "heads", "head_dim"), std)
        self.key = weight(rngs, (D, K, H), ("embed", "kv_heads", "head_dim"), std)
        self.value = weight(rngs, (D, K, H), ("embed", "kv_heads", "head_dim"), std)
        self.out = weight(rngs, (N, H, D), ("heads", "head_dim", "embed"), std / math.sqrt(2 * config.num_layers))

    def __call__(self, x_BTD: jax.Array, places: Places, cache: KVCache | None) -> tuple[jax.Array, KVCache | None]:
        q_BTNH = rope.rotate(_project(x_BTD, self.query), *places.angles)
        k_BTKH = rope.rotate(_project(x_BTD, self.key), *places.angles)
        v_BTKH = _project(x_BTD, self.value)
        q_BTNH = constrain(q_BTNH, "batch", "seq", "act_heads", "head_dim")
        k_BTKH = constrain(k_BTKH, "batch", "seq", "act_kv_heads", "head_dim")
        if cache is None:
            out_BTNH = kernels.attention(self.config.attention)(q_BTNH, k_BTKH, v_BTKH, places.segments)
        else:
            cache = _write(cache, k_BTKH, v_BTKH, places.positions)
            out_BTNH = kernels.cached_attention(q_BTNH, cache.keys, cache.values, places.positions)
        B, T, N, H = out_BTNH.shape
        return linear(out_BTNH.reshape(B, T, N * H), self.out[...].reshape(N * H, -1)), cache


def _project(x_BTD: jax.Array, weight: nnx.Param) -> jax.Array:
    """`[batch, seq_len, embed]` by a weight `[embed, heads, head_dim]`: one product, then split into heads."""
    D, N, H = weight[...].shape
    return linear(x_BTD, weight[...].reshape(D, N * H)).reshape(*x_BTD.shape[:2], N, H)


def _write(cache: KVCache, k_BTKH: jax.Array, v_BTKH: jax.Array, positions_BT: jax.Array) -> KVCache:
    rows = jnp.arange(k_BTKH.shape[0])[:, None]
    keys = cache.keys.at[rows, positions_BT].set(k_BTKH, mode="drop")
    return KVCache(keys, cache.values.at[rows, positions_BT].set(v_BTKH, mode="drop"))


class SwiGLU(nnx.Module):
    """Shazeer, 2020 (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, F, std = config.embed, config.mlp, config.init_std
        self.gate = weight(rngs, (D, F), ("embed", "mlp"), std)
        self.up = weight(rngs, (D, F), ("embed", "mlp"), std)
        self.down = weight(rngs, (F, D), ("mlp", "embed"), std / math.sqrt(2 * config.num_layers))

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        hidden_BTF = jax.nn.silu(linear(x_BTD, self.gate[...])) * linear(x_BTD, self.up[...])
        return linear(constrain(hidden_BTF, "batch", "seq", "act_mlp"), self.down[...])


class Block(nnx.Module):
    """One layer: attention and SwiGLU, each on a normed copy of the residual stream."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.embed, config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = RMSNorm(config.embed, config.norm_eps)
        self.mlp = SwiGLU(config, rngs=rngs)

    def __call__(self, x_BTD: jax.Array, places: Places, cache: KVCache | None) -> tuple[jax.Array, KVCache | None]:
        attended_BTD, cache = self.attention(self.attention_norm(x_BTD), places, cache)
        x_BTD = constrain(x_BTD + attended_BTD, "batch", "seq", "act_embed")
        return constrain(x_BTD + self.mlp(self.mlp_norm(x_BTD)), "batch", "seq", "act_embed"), cache
