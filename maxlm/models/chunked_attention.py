"""Causal attention in chunks of queries, in plain jax: the kernel of devices that have no better one.

A chunk of queries reads only the keys before its end and within its window, so that nearly half of the products fall
away and no more than one chunk's scores exist at a time. The backward pass computes a chunk's probabilities anew from
the saved log-sum-exp (Dao et al., 2022, FlashAttention, section 3.1).

Letters: B batch, T query, S key, N query heads, K key/value heads, G = N / K, H head_dim.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from maxlm.models.remat import attention_result

_QUERY_CHUNK = 128
# Far below any score, and finite: a row that sees nothing must not become NaN.
_MASKED = -1e30


def in_reach(query: jax.Array, key: jax.Array, window: int) -> jax.Array:
    """Whether a query at one index may see a key at another: not after it, and within the window if there is one."""
    seen = key <= query
    return seen & (query - key < window) if window else seen


def chunked_attention(
    q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BT: jax.Array, window: int = 0
) -> jax.Array:
    """Attention within segments, `[batch, seq_len, num_heads, head_dim]`; scores and sums in float32."""
    B, T, N, H = q_BTNH.shape
    K = k_BSKH.shape[2]
    q_BKGTH = q_BTNH.reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4)
    out_BKGTH: jax.Array = _attention(window, q_BKGTH, k_BSKH.swapaxes(1, 2), v_BSKH.swapaxes(1, 2), segments_BT)
    return out_BKGTH.transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(window, q_BKGTH, k_BKSH, v_BKSH, segments_BT):
    return _forward(window, q_BKGTH, k_BKSH, v_BKSH, segments_BT)[0]


def _forward(window, q_BKGTH, k_BKSH, v_BKSH, segments_BT):
    outs, lses = [], []
    for first, start, stop in _chunks(q_BKGTH.shape[3], window):
        k, v = k_BKSH[:, :, first:stop], v_BKSH[:, :, first:stop]
        scores = _scores(q_BKGTH[:, :, :, start:stop], k, _visible(segments_BT, first, start, stop, window))
        top = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - top)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        out = jnp.einsum("bkgts,bksh->bkgth", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
        outs.append((out / total).astype(v.dtype))
        lses.append(top + jnp.log(total))
    out_BKGTH, lse_BKGT1 = attention_result((jnp.concatenate(outs, axis=3), jnp.concatenate(lses, axis=3)))
    return out_BKGTH, (q_BKGTH, k_BKSH, v_BKSH, segments_BT, out_BKGTH, lse_BKGT1)


def _backward(window, saved, grad_out_BKGTH):
    q_BKGTH, k_BKSH, v_BKSH, segments_BT, out_BKGTH, lse_BKGT1 = saved
    T, H = q_BKGTH.shape[3:]
    both = grad_out_BKGTH.astype(jnp.float32) * out_BKGTH.astype(jnp.float32)
    delta_BKGT1 = jnp.sum(both, axis=-1, keepdims=True)
    grads_q, grads_k, grads_v = [], [], []
    for first, start, stop in _chunks(T, window):
        q, grad_out, lse, delta = (x[:, :, :, start:stop] for x in (q_BKGTH, grad_out_BKGTH, lse_BKGT1, delta_BKGT1))
        k, v = k_BKSH[:, :, first:stop], v_BKSH[:, :, first:stop]
        probs = jnp.exp(_scores(q, k, _visible(segments_BT, first, start, stop, window)) - lse)
        grad_probs = jnp.einsum("bkgth,bksh->bkgts", grad_out, v, preferred_element_type=jnp.float32)
        grad_scores = (probs * (grad_probs - delta) * H**-0.5).astype(q.dtype)
        # Both are used twice; without a barrier they would be computed twice.
        probs, grad_scores = lax.optimization_barrier((probs.astype(q.dtype), grad_scores))
        grads_q.append(jnp.einsum("bkgts,bksh->bkgth", grad_scores, k))
        grads_k.append(jnp.einsum("bkgth,bkgts->bkhs", q, grad_scores))
        grads_v.append(jnp.einsum("bkgth,bkgts->bkhs", grad_out, probs))
    grad_k, grad_v = (_sum_of_parts(grads, T, window) for grads in (grads_k, grads_v))
    return jnp.concatenate(grads_q, axis=3), grad_k, grad_v, None


_attention.defvjp(_forward, _backward)


def _chunks(length: int, window: int) -> list[tuple[int, int, int]]:
    """For each chunk of queries its first key, and where its queries begin and end; keys begin at a chunk's begin."""
    starts = range(0, length, _QUERY_CHUNK)
    reach = [max(0, start - window + 1) // _QUERY_CHUNK * _QUERY_CHUNK if window else 0 for start in starts]
    return [(first, start, min(start + _QUERY_CHUNK, length)) for first, start in zip(reach, starts, strict=True)]


def _visible(segments_BT: jax.Array, first: int, start: int, stop: int, window: int) -> jax.Array:
    """Which keys from `first` to `stop` the queries from `start` on may see, bool `[batch, 1, 1, query, key]`."""
    queries, keys = jnp.arange(start, stop), jnp.arange(first, stop)
    same = segments_BT[:, start:stop, None] == segments_BT[:, None, first:stop]
    return (same & in_reach(queries[:, None], keys, window))[:, None, None]


def _scores(q_BKGTH: jax.Array, k_BKSH: jax.Array, visible: jax.Array) -> jax.Array:
    scores = jnp.einsum("bkgth,bksh->bkgts", q_BKGTH, k_BKSH, preferred_element_type=jnp.float32)
    return jnp.where(visible, scores * q_BKGTH.shape[-1] ** -0.5, _MASKED)


def _sum_of_parts(grads_BKHS: list[jax.Array], length: int, window: int) -> jax.Array:
    """Sums the chunks' gradients, each over its own run of keys: `[batch, num_kv_heads, seq_len, head_dim]`."""
    chunks = _chunks(length, window)
    pieces = [
        sum(
            grad[..., start - first : stop - first]
            for grad, (first, _, end) in zip(grads_BKHS, chunks, strict=True)
            if first <= start and stop <= end
        )
        for _, start, stop in chunks
    ]
    return jnp.concatenate(pieces, axis=-1).swapaxes(2, 3)
