"""Next-token cross-entropy that never holds the logits of a whole batch.

The gradient with respect to hidden states and output matrix is computed together with the loss, chunk by chunk along
the sequence, while a chunk's logits are at hand (Hsu et al., 2024, Liger Kernel, section 3.2). Nothing is computed
twice, and no more than one chunk of logits exists at a time. Each device goes through the chunks of its own tokens: the
output matrix is gathered once before them, and its gradient summed over the devices once after them. (Left to itself,
the compiler does both in every chunk.)

Letters: B batch, T position, C position within a chunk, D embed, V vocab.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from maxlm.parallel.axes import BATCH_AXES, CONTEXT, DATA, RULES, STAGE, TENSOR, platform, spec, ways

_TOKEN_AXES = (*BATCH_AXES, CONTEXT)  # that split the tokens of a batch

# Float32 logits of a chunk. A CPU's shall stay near its caches. An accelerator reads and writes the output matrix's
# gradient, 8 bytes a parameter, for every chunk, which only some thousands of tokens make worth it.
_CHUNK_BYTES = {"cpu": 32 << 20, "gpu": 1 << 30, "tpu": 1 << 30}


class TokenLosses(NamedTuple):
    """Sums and per-token losses of a batch."""

    loss: jax.Array  # [] weighted mean of the cross-entropy, plus the z-loss
    nll_BT: jax.Array  # float32 [batch, seq_len]: cross-entropy of each token, in nats; no gradient flows through it
    figures: dict[str, jax.Array] | None = None  # to be shown: name -> sum, and what it is to be divided by


def auto_chunks(batch: int, seq_len: int, vocab: int) -> int:
    """Pieces of the sequence such that a piece's float32 logits take what suits a device."""
    split = math.prod(ways(axis) for axis in (*BATCH_AXES, CONTEXT, TENSOR))
    wanted = max(1, batch * seq_len * vocab * 4 // split // _CHUNK_BYTES[platform()])
    most = seq_len // ways(CONTEXT)
    return next(n for n in range(1, most + 1) if most % n == 0 and (n >= wanted or n == most))


def next_token_loss(
    hidden_BTD: jax.Array,
    table_VD: jax.Array,
    targets_BT: jax.Array,
    weights_BT: jax.Array,
    *,
    z_loss: float = 0.0,
    chunks: int = 1,
    total: jax.Array | None = None,
) -> TokenLosses:
    """Mean over the weighted tokens of ``-log softmax(hidden @ table.T)[target] + z_loss * log²Z``.

    Args:
      hidden_BTD: `[batch, seq_len, embed]`, in the dtype of the computation.
      table_VD: output matrix, float32 `[vocab, embed]`.
      targets_BT: int32 `[batch, seq_len]`.
      weights_BT: float32 `[batch, seq_len]`; 0 leaves a token out.
      chunks: pieces of the sequence; must divide seq_len.
      total: what the sum is divided by, if these are not all rows of the step; None: the sum of the weights.
    """
    total = weights_BT.sum() if total is None else total
    weights_BT = weights_BT / jnp.maximum(total, 1.0)
    result: Any = _chunked_loss(z_loss, chunks, hidden_BTD, table_VD, targets_BT, weights_BT)
    loss, nll_BT = result
    return TokenLosses(loss, jax.lax.stop_gradient(nll_BT))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked_loss(z_loss, chunks, hidden_BTD, table_VD, targets_BT, weights_BT):
    def local(hidden_BTD, table_VD, targets_BT, weights_BT):
        def one_chunk(loss, chunk):
            hidden_BCD, targets_BC, weights_BC = chunk
            _, _, lse_BC, nll_BC = _chunk_softmax(hidden_BCD, table_VD, targets_BC)
            return loss + jnp.sum(weights_BC * (nll_BC + z_loss * lse_BC**2)), nll_BC

        split = [_split(x, chunks) for x in (hidden_BTD, targets_BT, weights_BT)]
        loss, nll = lax.scan(one_chunk, jnp.float32(0), tuple(split))
        return _summed(loss), _join(nll)

    return _on_own_tokens(local, ("all", "token"), hidden_BTD, table_VD, targets_BT, weights_BT)


def _loss_forward(z_loss, chunks, hidden_BTD, table_VD, targets_BT, weights_BT):
    def local(hidden_BTD, table_VD, targets_BT, weights_BT):
        def one_chunk(carry, chunk):
            loss, table_grad_DV = carry
            hidden_BCD, targets_BC, weights_BC = chunk
            exp_BCV, total_BC1, lse_BC, nll_BC = _chunk_softmax(hidden_BCD, table_VD, targets_BC)
            # d loss / d logits = w ((1 + 2 z lse) softmax - onehot)
            scale_BC1 = (weights_BC * (1 + 2 * z_loss * lse_BC))[..., None] / total_BC1
            is_target_BCV = jnp.arange(exp_BCV.shape[-1]) == targets_BC[..., None]
            grad_BCV = exp_BCV * scale_BC1 - jnp.where(is_target_BCV, weights_BC[..., None], 0.0)
            grad_BCV = grad_BCV.astype(hidden_BCD.dtype)
            hidden_grad_BCD = jnp.einsum("bcv,vd->bcd", grad_BCV, table_VD)
            # Summed up as [embed, vocab]: the other order costs a transposed copy of the gradient on a CPU.
            table_grad_DV += jnp.einsum("bcd,bcv->dv", hidden_BCD, grad_BCV, preferred_element_type=jnp.float32)
            loss += jnp.sum(weights_BC * (nll_BC + z_loss * lse_BC**2))
            return (loss, table_grad_DV), (nll_BC, hidden_grad_BCD)

        split = [_split(x, chunks) for x in (hidden_BTD, targets_BT, weights_BT)]
        start = (jnp.float32(0), jnp.zeros(table_VD.shape[::-1], jnp.float32))
        (loss, table_grad_DV), (nll, hidden_grad) = lax.scan(one_chunk, start, tuple(split))
        return _summed(loss), _join(nll), _join(hidden_grad), _summed_and_split(table_grad_DV)

    loss, nll_BT, hidden_grad_BTD, table_grad_DV = _on_own_tokens(
        local, ("all", "token", "token", "table"), hidden_BTD, table_VD, targets_BT, weights_BT
    )
    return (loss, nll_BT), (hidden_grad_BTD, table_grad_DV.T)


def _loss_backward(z_loss, chunks, saved, cotangents):
    hidden_grad_BTD, table_grad_VD = saved
    scale, _ = cotangents  # per-token losses are for looking at
    return hidden_grad_BTD * scale.astype(hidden_grad_BTD.dtype), table_grad_VD * scale, None, None


_chunked_loss.defvjp(_loss_forward, _loss_backward)


def _on_own_tokens(local, results, hidden_BTD, table_VD, targets_BT, weights_BT):
    """Runs `local` on each device's tokens and the matrix in their dtype, whole but for what `tensor` splits of it.

    `results`: for each value whether it is one for "all", of each "token", or like the "table" transposed.
    """
    arguments = hidden_BTD, table_VD.astype(hidden_BTD.dtype), targets_BT, weights_BT
    if not _over(_TOKEN_AXES):
        return local(*arguments)
    tokens = spec("batch", "seq")
    kinds = {"all": PartitionSpec(), "token": tokens, "table": spec("embed")}
    split = jax.shard_map(
        local,
        in_specs=(tokens, PartitionSpec(), tokens, tokens),
        out_specs=tuple(kinds[kind] for kind in results),
        axis_names={*_TOKEN_AXES},  # the compiler keeps the vocabulary split over tensor
        check_vma=False,
    )
    return split(*arguments)


def _over(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those axes of the mesh in force that have more than one device."""
    return tuple(axis for axis in axes if ways(axis) > 1)


def _summed(x: jax.Array) -> jax.Array:
    return lax.psum(x, axes) if (axes := _over(_TOKEN_AXES)) else x


def _summed_and_split(grad_DV: jax.Array) -> jax.Array:
    """The sum over all devices, of which each keeps its rows: "embed" is split over fsdp and context."""
    if axes := _over(RULES["embed"]):
        grad_DV = lax.psum_scatter(grad_DV, axes, tiled=True)
    return lax.psum(grad_DV, axes) if (axes := _over((DATA, STAGE))) else grad_DV


def _chunk_softmax(hidden_BCD, table_VD, targets_BC):
    """exp(logits - largest) and its sum over the vocabulary, log Z, and the cross-entropy of each token; float32."""
    logits_BCV = jnp.einsum("bcd,vd->bcv", hidden_BCD, table_VD, preferred_element_type=jnp.float32)
    top_BC1 = jnp.max(logits_BCV, axis=-1, keepdims=True)
    exp_BCV = jnp.exp(logits_BCV - top_BC1)
    total_BC1 = jnp.sum(exp_BCV, axis=-1, keepdims=True)
    lse_BC = (top_BC1 + jnp.log(total_BC1))[..., 0]
    target_BC = jnp.take_along_axis(logits_BCV, targets_BC[..., None], axis=-1)[..., 0]
    return exp_BCV, total_BC1, lse_BC, lse_BC - target_BC


def _split(x_BT: jax.Array, chunks: int) -> jax.Array:
    """`[batch, seq_len, …]` as `[chunks, batch, seq_len / chunks, …]`."""
    B, T = x_BT.shape[:2]
    return x_BT.reshape(B, chunks, T // chunks, *x_BT.shape[2:]).swapaxes(0, 1)


def _join(x: jax.Array) -> jax.Array:
    """What `_split` undoes."""
    chunks, B, C = x.shape[:3]
    return x.swapaxes(0, 1).reshape(B, chunks * C, *x.shape[3:])


def sums_by_domain(values_BT: jax.Array, domains_BT: jax.Array, num_domains: int) -> jax.Array:
    """Sum of the values of each domain's tokens, float32 `[num_domains]`. Padding belongs to none."""
    member_BTM = jax.nn.one_hot(domains_BT, num_domains, dtype=jnp.float32)
    return jnp.einsum("bt,btm->m", values_BT, member_BTM)
