"""Attention kernels: a name for each, and which one a device gets.

Every kernel takes q `[batch, seq_len, num_heads, head_dim]`, k and v `[batch, seq_len, num_kv_heads, head_dim]` and
segments `[batch, seq_len]`; a position attends to itself and to earlier ones of the same segment, never across. A
`window` above 0 bounds how many it sees, itself included.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from maxlm.errors import ConfigError, did_you_mean
from maxlm.models.chunked_attention import chunked_attention, in_reach
from maxlm.models.context_attention import context_attention
from maxlm.parallel.axes import CONTEXT, ways

Kernel = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, int], jax.Array]
# Far below any score, and finite: a row that sees nothing must not become NaN.
_MASKED = -1e30


def masked_attention(q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, mask_BTS: jax.Array) -> jax.Array:
    """Softmax attention in float32 where `mask_BTS` is true, `[batch, seq_len, num_heads, head_dim]`."""
    B, T, N, H = q_BTNH.shape
    K = k_BSKH.shape[2]
    q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
    scores_BKGTS = jnp.einsum("btkgh,bskh->bkgts", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32) * H**-0.5
    scores_BKGTS = jnp.where(mask_BTS[:, None, None], scores_BKGTS, _MASKED)
    weights_BKGTS = jax.nn.softmax(scores_BKGTS, axis=-1).astype(q_BTNH.dtype)
    return jnp.einsum("bkgts,bskh->btkgh", weights_BKGTS, v_BSKH).reshape(B, T, N, H)


def xla_attention(
    q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BT: jax.Array, window: int = 0
) -> jax.Array:
    """The plain formula, all scores at once."""
    index_T = jnp.arange(q_BTNH.shape[1])
    same_BTS = segments_BT[:, :, None] == segments_BT[:, None, :]
    return masked_attention(q_BTNH, k_BSKH, v_BSKH, same_BTS & in_reach(index_T[:, None], index_T, window))


def cached_attention(
    q_BTNH: jax.Array, keys_BSKH: jax.Array, values_BSKH: jax.Array, positions_BT: jax.Array, window: int = 0
) -> jax.Array:
    """Attention of new tokens over a cache in which position s of a row stands at index s."""
    reach_BTS = in_reach(positions_BT[:, :, None], jnp.arange(keys_BSKH.shape[1]), window)
    return masked_attention(q_BTNH, keys_BSKH, values_BSKH, reach_BTS)


KERNELS: dict[str, Kernel] = {"chunked": chunked_attention, "xla": xla_attention}
_BEST_FOR_DEVICE = {"cpu": "chunked", "gpu": "chunked", "tpu": "chunked"}


def attention(name: str) -> Kernel:
    """The kernel of this name; "auto": the best one for the default device.

    On a mesh that splits sequences it is the one for `context_attention.spread` sequences, whatever the name.
    """
    if (split := ways(CONTEXT)) > 1:
        return functools.partial(context_attention, ways=split)
    if name == "auto":
        name = _BEST_FOR_DEVICE[jax.default_backend()]
    if name not in KERNELS:
        raise ConfigError(f"config.model.attention: unknown kernel {name!r}{did_you_mean(name, [*KERNELS, 'auto'])}")
    return KERNELS[name]
