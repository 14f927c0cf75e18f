"""Attention kernels: a name for each, and which one a device gets.

Every kernel takes q `[batch, seq_len, num_heads, head_dim]`, k and v `[batch, seq_len, num_kv_heads, head_dim]` and
segments `[batch, seq_len]`; a position attends to itself and to earlier ones of the same segment, never across. A
`window` above 0 bounds how many it sees, itself included.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from maxlm.errors import ConfigError, did_you_mean
from maxlm.models import gpu_attention
from maxlm.models.chunked_attention import chunked_attention, in_reach
from maxlm.models.context_attention import context_attention
from maxlm.models.gpu_attention import mosaic_attention, triton_attention
from maxlm.models.splash import splash_attention
from maxlm.parallel.axes import CONTEXT, platform, ways

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
    q_BTNH: jax.Array, keys_BKSH: jax.Array, values_BKSH: jax.Array, positions_BT: jax.Array, window: int = 0
) -> jax.Array:
    """Attention of new tokens over a layer's cache, in which position s of a row stands at index s."""
    reach_BTS = in_reach(positions_BT[:, :, None], jnp.arange(keys_BKSH.shape[2]), window)
    return masked_attention(q_BTNH, keys_BKSH.swapaxes(1, 2), values_BKSH.swapaxes(1, 2), reach_BTS)


KERNELS: dict[str, Kernel] = {
    "chunked": chunked_attention,
    "mosaic": mosaic_attention,
    "splash": splash_attention,
    "triton": triton_attention,
    "xla": xla_attention,
}


def best_kernel() -> str:
    """The name of the best kernel for the devices of the mesh in force, or for jax's own without one."""
    kind = platform()
    if kind != "gpu":
        return {"cpu": "chunked", "tpu": "splash"}[kind]
    return gpu_attention.best_kernel(jax.devices()[0])


def attention(name: str) -> Kernel:
    """The kernel of this name; "auto": the best one for the devices.

    On a mesh that splits sequences it is the one for `context_attention.spread` sequences, whatever the name.
    """
    if (split := ways(CONTEXT)) > 1:
        return functools.partial(context_attention, ways=split)
    if name == "auto":
        name = best_kernel()
    if name not in KERNELS:
        raise ConfigError(f"config.model.attention: unknown kernel {name!r}{did_you_mean(name, [*KERNELS, 'auto'])}")
    return KERNELS[name]


def check_keeps_documents_apart(name: str, window: int = 0) -> None:
    """Runs the kernel on the real device: what stands in one document must not change another one's outputs by a bit,
    and its outputs have no gradient there.

    Kernels have been released that ignore the segments they are given, without a word; a model trained with one learns
    from the wrong text.

    Raises:
      ConfigError: the kernel attends across documents, or to later tokens.
    """
    T, first = 256, 100  # two documents
    kernel, keys = attention(name), jax.random.split(jax.random.key(0), 4)
    q, k, v, out_grad = (jax.random.normal(key, (1, T, 2, 128), jnp.bfloat16) for key in keys)
    second = (jnp.arange(T) >= first)[None, :, None, None]
    segments = 1 + second[:, :, 0, 0].astype(jnp.int32)

    @jax.jit
    def run(document: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """A document's outputs, and their gradients with respect to all queries, keys and values."""
        out, pull = jax.vjp(lambda q, k, v: kernel(q, k, v, segments, window), q, k, v)
        return jnp.where(document, out, 0), pull(jnp.where(document, out_grad, 0))

    for document in (second, ~second):
        out, gradients = run(document, k, v)
        changed, _ = run(document, jnp.where(document, k, 9.0), jnp.where(document, v, -9.0))
        leaks = any(jnp.any(jnp.where(document, 0, gradient)) for gradient in gradients)
        if leaks or not jnp.array_equal(out, changed):
            raise ConfigError(
                f"config.model.attention={name!r}: on this device the kernel attends across packed documents; "
                f"take another one ({', '.join(KERNELS)})"
            )
