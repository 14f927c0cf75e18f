"""Attention on NVIDIA GPUs: Pallas kernels that know documents, of jax itself ("triton") and of tokamax ("mosaic").

Why not cuDNN's, which jax.nn.dot_product_attention offers: it takes no segments. A dense mask costs it the causal
half, `tokens × tokens` bytes and a gradient of the mask. Its packed form wants a bound on the documents of a row,
allocates softmax statistics of the whole row for each of them, and in jax 0.10 reads the wrong keys when heads are
grouped (jax pull request 39521). A document is a run of tokens: a kernel need only know where each query's begins.
"""

import functools
import importlib
import importlib.util
import math
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from jax import lax

from maxlm.errors import ConfigError
from maxlm.models.chunked_attention import chunked_attention
from maxlm.parallel.heads import on_own_heads

_HOPPER = (9, 0)  # compute capability


def best_kernel(device: Any) -> str:
    """The name of the fastest kernel for a GPU; `device` may be one that is only described."""
    capability = tuple(int(part) for part in str(getattr(device, "compute_capability", "0.0")).split("."))
    has_tokamax = importlib.util.find_spec("tokamax") is not None
    return "mosaic" if has_tokamax and capability >= _HOPPER else "triton"


def triton_attention(
    q_BTNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    segments_BT: jax.Array,
    window: int = 0,
    interpret: bool = False,
) -> jax.Array:
    """Attention within segments, `[batch, seq_len, num_heads, head_dim]`. `interpret`: by plain jax, on any device.

    Raises:
      ConfigError: a window, which the kernel doesn't know, or sequences that do not divide into blocks.
    """
    T, H = q_BTNH.shape[1], q_BTNH.shape[3]
    block = math.gcd(T, 128 if H <= 64 else 64)
    if window:
        raise ConfigError("config.model.attention='triton' knows no model.sliding_window; take 'mosaic' or 'chunked'")
    if block < 16:
        raise ConfigError(
            f"config.model.attention='triton': sequences of {T} tokens are no multiple of 16; take a seq_len that is, "
            "or attention='chunked'"
        )
    # Here, since it takes half a second, which is a tenth of a start on machines that never need it.
    from jax.experimental.pallas.ops.gpu import attention as triton_kernel

    sizes = triton_kernel.BlockSizes(
        block_q=block, block_k=block, block_q_dkv=block, block_kv_dkv=block, block_q_dq=block, block_kv_dq=block
    )

    def local(q_BTNH, k_BSKH, v_BSKH, segments_BT) -> Any:
        group = q_BTNH.shape[2] // k_BSKH.shape[2]  # the kernel wants a key for each query head
        k_BSNH, v_BSNH = (jnp.repeat(x, group, axis=2) for x in (k_BSKH, v_BSKH))
        scale = H**-0.5
        return triton_kernel.mha(
            q_BTNH, k_BSNH, v_BSNH, segments_BT, sm_scale=scale, causal=True, block_sizes=sizes, interpret=interpret
        )

    return on_own_heads(local, q_BTNH, k_BSKH, v_BSKH, segments_BT)


def mosaic_attention(
    q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BT: jax.Array, window: int = 0
) -> jax.Array:
    """Attention within segments by tokamax's kernel for Hopper and later; float32, which it doesn't know, in chunks."""
    if q_BTNH.dtype == jnp.float32:
        return chunked_attention(q_BTNH, k_BSKH, v_BSKH, segments_BT, window)
    module = importlib.import_module("tokamax._src.ops.attention.pallas_mosaic_gpu")
    local = functools.partial(ranged_attention, module.PallasMosaicGpuFlashAttention(), window)
    return on_own_heads(local, q_BTNH, k_BSKH, v_BSKH, segments_BT)


def ranged_attention(
    kernel: Any, window: int, q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BT: jax.Array
) -> jax.Array:
    """One of tokamax's kernels, told at which key each query's document, or its window, begins."""
    flags.FLAGS.mark_as_parsed()  # else tokamax parses the command line, which is not its own
    base = importlib.import_module("tokamax._src.ops.attention.base")  # its ranges stand in no public interface
    index_T = jnp.arange(segments_BT.shape[1])
    begins_BT = jnp.pad(segments_BT[:, 1:] != segments_BT[:, :-1], ((0, 0), (1, 0)))
    first_BT = lax.cummax(jnp.where(begins_BT, index_T, 0), axis=1)
    if window:
        first_BT = jnp.maximum(first_BT, index_T - window + 1)
    return kernel(q_BTNH, k_BSKH, v_BSKH, mask=base.Mask(k_start=first_BT[:, None], is_causal=True))
