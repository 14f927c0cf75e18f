"""Causal attention over sequences that are split between devices (the mesh axis `context`).

Every device holds two of 2C chunks of each sequence, number i from the front and number i from the back, so that the
causal mask gives all of them the same work (Llama 3, section 3.3.2). `spread` puts a batch into that order; nothing but
attention minds it. Keys and values are gathered; a block of queries walks over the blocks of keys that it can see,
keeping a running softmax (Dao et al., 2022, FlashAttention, algorithm 1), and walks over them again backward.

Letters: B batch, T query, S key, N query heads, K key/value heads, G = N / K, H head_dim, C devices of the axis.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from maxlm.models.chunked_attention import in_reach
from maxlm.models.remat import attention_result
from maxlm.parallel.axes import BATCH_AXES, CONTEXT, MESH_AXES, TENSOR, free

_BLOCK = 512  # queries, and keys, that are worked off at a time
# Far below any score, and finite: a row that sees nothing must not become NaN.
_MASKED = -1e30


def _order(ways: int) -> np.ndarray:
    """Chunks in the order in which devices hold them: 0, 2C - 1, 1, 2C - 2, …"""
    front = np.arange(ways)
    return np.stack([front, 2 * ways - 1 - front], axis=1).ravel()


def spread(x_BT: jax.Array, ways: int) -> jax.Array:
    """`[batch, seq_len, …]` with its chunks in the order in which the devices hold them."""
    return _reordered(x_BT, _order(ways))


def gathered(x_BT: jax.Array, ways: int) -> jax.Array:
    """What `spread` undoes: the sequence from its beginning to its end."""
    return _reordered(x_BT, np.argsort(_order(ways)))


def _reordered(x_BT: jax.Array, order: np.ndarray) -> jax.Array:
    B, T = x_BT.shape[:2]
    return x_BT.reshape(B, len(order), T // len(order), *x_BT.shape[2:])[:, order].reshape(x_BT.shape)


def context_attention(
    q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BT: jax.Array, window: int, ways: int
) -> jax.Array:
    """Attention of sequences that were `spread` over `ways` devices, `[batch, seq_len, num_heads, head_dim]`."""
    batch = free(BATCH_AXES)
    heads, places = PartitionSpec(batch, CONTEXT, TENSOR), PartitionSpec(batch, CONTEXT)
    local = functools.partial(_local, window, ways)
    # The kernel's own gradients know nothing of the axis; summing those of keys over it is the gathering's transpose.
    split = jax.shard_map(
        local,
        in_specs=(heads, heads, heads, places),
        out_specs=heads,
        axis_names={*free(MESH_AXES)},
        check_vma=False,
    )
    return split(q_BTNH, k_BSKH, v_BSKH, segments_BT)


def _local(window, ways, q_BTNH, k_BSKH, v_BSKH, segments_BT):
    """One device's queries, two chunks of them, over all keys."""
    keys, values, key_segments = (
        gathered(lax.all_gather(x, CONTEXT, axis=1, tiled=True), ways) for x in (k_BSKH, v_BSKH, segments_BT)
    )
    B, T, N, H = q_BTNH.shape
    K, half, index = k_BSKH.shape[2], T // 2, lax.axis_index(CONTEXT)
    q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
    outs = []
    for chunk, number in enumerate((index, 2 * ways - 1 - index)):
        mine = slice(chunk * half, (chunk + 1) * half)
        start = number * half
        outs.append(_flash(window, q_BTKGH[:, mine], keys, values, segments_BT[:, mine], key_segments, start))
    return jnp.concatenate(outs, axis=1).reshape(B, T, N, H)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _flash(window, q_BTKGH, k_BSKH, v_BSKH, q_segments_BT, k_segments_BS, start) -> Any:
    """Attention of queries that stand at `start`, a traced number, and after, over keys that stand at 0 and after."""
    return _forward(window, q_BTKGH, k_BSKH, v_BSKH, q_segments_BT, k_segments_BS, start)[0]


def _forward(window, q_BTKGH, k_BSKH, v_BSKH, q_segments_BT, k_segments_BS, start):
    size = _block_size(q_BTKGH.shape[1])

    def one_block(number):
        first = start + number * size
        q, q_segments = _block(q_BTKGH, number * size, size), _block(q_segments_BT, number * size, size)

        def add(m, carry):
            top, total, out = carry
            k, v, k_segments = (_block(x, m * size, size) for x in (k_BSKH, v_BSKH, k_segments_BS))
            scores = _scores(q, k, q_segments, k_segments, first, m * size, window)
            new_top = jnp.maximum(top, scores.max(axis=-1))
            shrink, weights = jnp.exp(top - new_top), jnp.exp(scores - new_top[..., None])
            part = jnp.einsum("bkgts,bskh->bkgth", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
            return new_top, total * shrink + weights.sum(axis=-1), out * shrink[..., None] + part

        B, _, K, G, H = q.shape
        nothing = jnp.full((B, K, G, size), _MASKED), jnp.zeros((B, K, G, size)), jnp.zeros((B, K, G, size, H))
        top, total, out = lax.fori_loop(*_seen_blocks(first, size, window), add, nothing)
        return (out / total[..., None]).astype(v_BSKH.dtype).transpose(0, 3, 1, 2, 4), top + jnp.log(total)

    out_NBTKGH, lse_NBKGT = lax.map(one_block, jnp.arange(q_BTKGH.shape[1] // size))
    out_BTKGH, lse_NBKGT = attention_result((jnp.moveaxis(out_NBTKGH, 0, 1).reshape(q_BTKGH.shape), lse_NBKGT))
    return out_BTKGH, (q_BTKGH, k_BSKH, v_BSKH, q_segments_BT, k_segments_BS, start, out_BTKGH, lse_NBKGT)


def _backward(window, saved, grad_out_BTKGH):
    q_BTKGH, k_BSKH, v_BSKH, q_segments_BT, k_segments_BS, start, out_BTKGH, lse_NBKGT = saved
    size, scale = _block_size(q_BTKGH.shape[1]), q_BTKGH.shape[-1] ** -0.5
    both = grad_out_BTKGH.astype(jnp.float32) * out_BTKGH.astype(jnp.float32)
    delta_BTKG = both.sum(axis=-1)

    def one_block(grads, number):
        first = start + number * size
        q, q_segments, grad_out, delta = (
            _block(x, number * size, size) for x in (q_BTKGH, q_segments_BT, grad_out_BTKGH, delta_BTKG)
        )
        delta, lse = delta.transpose(0, 2, 3, 1)[..., None], lse_NBKGT[number][..., None]

        def add(m, carry):
            grad_q, grad_k, grad_v = carry
            k, v, k_segments = (_block(x, m * size, size) for x in (k_BSKH, v_BSKH, k_segments_BS))
            probs = jnp.exp(_scores(q, k, q_segments, k_segments, first, m * size, window) - lse)
            grad_probs = jnp.einsum("btkgh,bskh->bkgts", grad_out, v, preferred_element_type=jnp.float32)
            grad_scores = (probs * (grad_probs - delta) * scale).astype(q.dtype)
            probs = probs.astype(q.dtype)
            grad_q += jnp.einsum("bkgts,bskh->btkgh", grad_scores, k, preferred_element_type=jnp.float32)
            more_k = jnp.einsum("bkgts,btkgh->bskh", grad_scores, q, preferred_element_type=jnp.float32)
            more_v = jnp.einsum("bkgts,btkgh->bskh", probs, grad_out, preferred_element_type=jnp.float32)
            return grad_q, _added(grad_k, more_k, m * size), _added(grad_v, more_v, m * size)

        carry = (jnp.zeros(q.shape, jnp.float32), *grads)
        grad_q, *grads = lax.fori_loop(*_seen_blocks(first, size, window), add, carry)
        return tuple(grads), grad_q

    nothing = jnp.zeros(k_BSKH.shape, jnp.float32), jnp.zeros(v_BSKH.shape, jnp.float32)
    (grad_k, grad_v), grad_q_N = lax.scan(one_block, nothing, jnp.arange(q_BTKGH.shape[1] // size))
    grad_q = jnp.moveaxis(grad_q_N, 0, 1).reshape(q_BTKGH.shape)
    grads = grad_q.astype(q_BTKGH.dtype), grad_k.astype(k_BSKH.dtype), grad_v.astype(v_BSKH.dtype)
    return (*grads, None, None, None)


_flash.defvjp(_forward, _backward)


def _block_size(length: int) -> int:
    """The largest divisor of a chunk's length that is no larger than _BLOCK."""
    return next(size for size in range(min(_BLOCK, length), 0, -1) if length % size == 0)


def _block(x_BT: jax.Array, start: jax.Array, size: int) -> jax.Array:
    return lax.dynamic_slice_in_dim(x_BT, start, size, axis=1)


def _added(x_BS: jax.Array, more: jax.Array, start: jax.Array) -> jax.Array:
    block = _block(x_BS, start, more.shape[1]) + more
    return lax.dynamic_update_slice_in_dim(x_BS, block, start, axis=1)


def _seen_blocks(first: jax.Array, size: int, window: int) -> tuple[jax.Array, jax.Array]:
    """The first block of keys that queries at `first` and after can see, and the one after the last."""
    begin = jnp.maximum(first - window + 1, 0) // size if window else jnp.zeros_like(first)
    return begin, first // size + 1


def _scores(q, k, q_segments, k_segments, first, k_first, window) -> jax.Array:
    """Scores of a block of queries and a block of keys, float32 `[batch, kv_heads, group, query, key]`."""
    scores = jnp.einsum("btkgh,bskh->bkgts", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    queries, keys = first + jnp.arange(q.shape[1]), k_first + jnp.arange(k.shape[1])
    visible = (q_segments[:, :, None] == k_segments[:, None, :]) & in_reach(queries[:, None], keys, window)
    return jnp.where(visible[:, None, None], scores, _MASKED)
