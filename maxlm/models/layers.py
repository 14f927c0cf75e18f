"""The parts of a decoder block. Single-device code: how tensors are split stands in maxlm/parallel/axes.py.

Letters: B batch, T query position, S key position, N query heads, K key/value heads, H head_dim, D embed, F mlp.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from maxlm.models import kernels, rope
from maxlm.models.cache import LayerCache
from maxlm.models.config import ModelConfig
from maxlm.models.norms import NORMS, RMSNorm
from maxlm.models.products import PRODUCTS
from maxlm.parallel.axes import constrain


class Places(NamedTuple):
    """Where the tokens of a batch stand, the same for all layers."""

    positions: jax.Array  # int32 [batch, seq_len], counted within the segment
    segments: jax.Array  # int32 [batch, seq_len]
    angles: tuple[jax.Array, jax.Array] | None  # of the positions: rope.angles; None where positions are learned


def weight(rngs: nnx.Rngs, shape: tuple[int, ...], axes: tuple[str, ...], std: float) -> nnx.Param:
    """A float32 parameter, normal with `std`; `axes` are the logical names of its dimensions."""
    return nnx.Param(jax.random.normal(rngs.params(), shape) * std, axes=axes)


def bias(shape: tuple[int, ...], axes: tuple[str, ...]) -> nnx.Param:
    """A float32 parameter that begins at zero. One as wide as the residual stream is split over no axis: "norm"."""
    return nnx.Param(jnp.zeros(shape), axes=axes)


def hidden_std(config: ModelConfig) -> float:
    """Spread of the layers' matrices; under muP it falls with the square root of the width (table 8)."""
    return config.init_std / math.sqrt(config.width_multiplier)


def residual_std(config: ModelConfig) -> float:
    """Spread of what writes to the residual stream, so that its variance does not grow with depth (GPT-2, 2.3).

    Under CompleteP (table 1) it is that of the base depth: there the layers' outputs are divided instead.
    """
    return hidden_std(config) / math.sqrt(2 * (config.mup_base_layers or config.num_layers))


class Attention(nnx.Module):
    """Causal grouped-query attention (Ainslie et al., 2023, arXiv 2305.13245)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, N, K, H = config.embed, config.num_heads, config.num_kv_heads, config.head_dim
        std = hidden_std(config)
        self.config, self.linear = config, PRODUCTS[config.matmul]
        self.query = weight(rngs, (D, N, H), ("embed", "heads", "head_dim"), std)
        self.key = weight(rngs, (D, K, H), ("embed", "kv_heads", "head_dim"), std)
        self.value = weight(rngs, (D, K, H), ("embed", "kv_heads", "head_dim"), std)
        self.out = weight(rngs, (N, H, D), ("heads", "head_dim", "embed"), residual_std(config))
        on_inputs = config.bias != "none"
        self.query_bias = bias((N, H), ("heads", "head_dim")) if on_inputs else None
        self.key_bias = bias((K, H), ("kv_heads", "head_dim")) if on_inputs else None
        self.value_bias = bias((K, H), ("kv_heads", "head_dim")) if on_inputs else None
        self.out_bias = bias((D,), ("norm",)) if config.bias == "all" else None
        self.query_norm = RMSNorm(H, config.norm_eps) if config.qk_norm else None
        self.key_norm = RMSNorm(H, config.norm_eps) if config.qk_norm else None

    def __call__(
        self, x_BTD: jax.Array, places: Places, cache: LayerCache | None
    ) -> tuple[jax.Array, LayerCache | None]:
        q_BTNH = self._turned(self._project(x_BTD, self.query, self.query_bias), self.query_norm, places)
        k_BTKH = self._turned(self._project(x_BTD, self.key, self.key_bias), self.key_norm, places)
        v_BTKH = self._project(x_BTD, self.value, self.value_bias)
        q_BTNH = constrain(q_BTNH, "batch", "seq", "act_heads", "head_dim")
        k_BTKH = constrain(k_BTKH, "batch", "seq", "act_kv_heads", "head_dim")
        window = self.config.sliding_window
        if cache is None:
            attention = kernels.attention(self.config.attention)
            out_BTNH = attention(q_BTNH, k_BTKH, v_BTKH, places.segments, window)
        else:
            cache = _write(cache, k_BTKH, v_BTKH, places.positions)
            out_BTNH = kernels.cached_attention(q_BTNH, cache.keys, cache.values, places.positions, window)
        B, T, N, H = out_BTNH.shape
        out_BTD = self.linear(out_BTNH.reshape(B, T, N * H), self.out[...].reshape(N * H, -1))
        return _added(out_BTD, self.out_bias), cache

    def _project(self, x_BTD: jax.Array, weight: nnx.Param, bias: nnx.Param | None) -> jax.Array:
        """`[batch, seq_len, embed]` by a weight `[embed, heads, head_dim]`: one product, then split into heads."""
        D, N, H = weight[...].shape
        return _added(self.linear(x_BTD, weight[...].reshape(D, N * H)).reshape(*x_BTD.shape[:2], N, H), bias)

    def _turned(self, x_BTNH: jax.Array, norm: RMSNorm | None, places: Places) -> jax.Array:
        """Queries or keys, normed and rotated where the config says so."""
        x_BTNH = x_BTNH if norm is None else norm(x_BTNH)
        return x_BTNH if places.angles is None else rope.rotate(x_BTNH, *places.angles)


def _added(x: jax.Array, bias: nnx.Param | None) -> jax.Array:
    return x if bias is None else x + bias[...].astype(x.dtype)


def _write(cache: LayerCache, k_BTKH: jax.Array, v_BTKH: jax.Array, positions_BT: jax.Array) -> LayerCache:
    rows = jnp.arange(k_BTKH.shape[0])[:, None]
    keys = cache.keys.at[rows, :, positions_BT].set(k_BTKH, mode="drop")
    return LayerCache(keys, cache.values.at[rows, :, positions_BT].set(v_BTKH, mode="drop"))


class SwiGLU(nnx.Module):
    """Shazeer, 2020 (arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, F, std, biased = config.embed, config.mlp, hidden_std(config), config.bias == "all"
        self.linear = PRODUCTS[config.matmul]
        self.gate = weight(rngs, (D, F), ("embed", "mlp"), std)
        self.up = weight(rngs, (D, F), ("embed", "mlp"), std)
        self.down = weight(rngs, (F, D), ("mlp", "embed"), residual_std(config))
        self.gate_bias = bias((F,), ("mlp",)) if biased else None
        self.up_bias = bias((F,), ("mlp",)) if biased else None
        self.down_bias = bias((D,), ("norm",)) if biased else None

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        gate_BTF = jax.nn.silu(_added(self.linear(x_BTD, self.gate[...]), self.gate_bias))
        up_BTF = _added(self.linear(x_BTD, self.up[...]), self.up_bias)
        hidden_BTF = constrain(gate_BTF * up_BTF, "batch", "seq", "act_mlp")
        return _added(self.linear(hidden_BTF, self.down[...]), self.down_bias)


class GeluMLP(nnx.Module):
    """Two matrices with GELU between, by tanh's approximation as in GPT-2 (Hendrycks and Gimpel, 2016, section 2)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        D, F, biased = config.embed, config.mlp, config.bias == "all"
        self.linear = PRODUCTS[config.matmul]
        self.up = weight(rngs, (D, F), ("embed", "mlp"), hidden_std(config))
        self.down = weight(rngs, (F, D), ("mlp", "embed"), residual_std(config))
        self.up_bias = bias((F,), ("mlp",)) if biased else None
        self.down_bias = bias((D,), ("norm",)) if biased else None

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        hidden_BTF = jax.nn.gelu(_added(self.linear(x_BTD, self.up[...]), self.up_bias), approximate=True)
        return _added(self.linear(constrain(hidden_BTF, "batch", "seq", "act_mlp"), self.down[...]), self.down_bias)


MLPS: dict[str, type[SwiGLU] | type[GeluMLP]] = {"swiglu": SwiGLU, "gelu": GeluMLP}


class Block(nnx.Module):
    """One layer: attention and MLP, each on a normed copy of the residual stream."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        norm = NORMS[config.norm]
        self.share = 1 / config.depth_multiplier  # of what attention and MLP make that is added
        self.attention_norm = norm(config.embed, config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = norm(config.embed, config.norm_eps)
        self.mlp = MLPS[config.mlp_kind](config, rngs=rngs)

    def __call__(
        self, x_BTD: jax.Array, places: Places, cache: LayerCache | None
    ) -> tuple[jax.Array, LayerCache | None]:
        attended_BTD, cache = self.attention(self.attention_norm(x_BTD), places, cache)
        x_BTD = constrain(x_BTD + self._share_of(attended_BTD), "batch", "residual_seq", "act_embed")
        made_BTD = self.mlp(self.mlp_norm(x_BTD))
        return constrain(x_BTD + self._share_of(made_BTD), "batch", "residual_seq", "act_embed"), cache

    def _share_of(self, made_BTD: jax.Array) -> jax.Array:
        return made_BTD if self.share == 1 else self.share * made_BTD
