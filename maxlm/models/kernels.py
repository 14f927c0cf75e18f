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
from maxlm.models.splash import splash_attention
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


KERNELS: dict[str, Kernel] = {"chunked": chunked_attention, "splash": splash_attention, "xla": xla_attention}
BEST_FOR_DEVICE = {"cpu": "chunked", "gpu": "chunked", "tpu": "splash"}


def attention(name: str) -> Kernel:
    """The kernel of this name; "auto": the best one for the default device.

    On a mesh that splits sequences it is the one for `context_attention.spread` sequences, whatever the name.
    """
    if (split := ways(CONTEXT)) > 1:
        return functools.partial(context_attention, ways=split)
    if name == "auto":
        name = BEST_FOR_DEVICE[jax.default_backend()]
    if name not in KERNELS:
        raise ConfigError(f"config.model.attention: unknown kernel {name!r}{did_you_mean(name, [*KERNELS, 'auto'])}")
    return KERNELS[name]


def check_keeps_documents_apart(name: str, window: int = 0) -> None:
    """Runs the kernel on the real device: what stands in one document must not change another one's outputs by a bit.

    Kernels have been released that ignore the segments they are given, without a word; a model trained with one learns
    from the wrong text.

    Raises:
      ConfigError: the kernel attends across documents, or to later tokens.
    """
    T, first = 256, 100  # two documents, the first of which is looked at
    kernel, keys = jax.jit(attention(name), static_argnums=4), jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(key, (1, T, 2, 128), jnp.bfloat16) for key in keys)
    segments = 1 + (jnp.arange(T)[None] >= first).astype(jnp.int32)
    outside = (jnp.arange(T) >= first)[None, :, None, None]
    before = kernel(q, k, v, segments, window)[:, :first]
    after = kernel(q, jnp.where(outside, 9.0, k), jnp.where(outside, -9.0, v), segments, window)[:, :first]
    # And the other way: the second document may not see the first.
    late = kernel(q, k, v, segments, window)[:, first:]
    changed = kernel(q, jnp.where(outside, k, 9.0), jnp.where(outside, v, -9.0), segments, window)[:, first:]
    if not (jnp.array_equal(before, after) and jnp.array_equal(late, changed)):
        raise ConfigError(
            f"config.model.attention={name!r}: on this device the kernel attends across packed documents; "
            "take another one (attention='chunked')"
        )
