"""Splash attention: the Pallas kernel for TPUs that jax keeps, with documents, windows and grouped queries."""

from typing import Any

import jax

from maxlm.errors import ConfigError
from maxlm.parallel.heads import on_own_heads

_BLOCK = 512
_LANES = 128  # blocks are whole multiples of a TPU's vector width


def splash_attention(
    q_BTNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    segments_BT: jax.Array,
    window: int = 0,
    interpret: bool = False,
) -> jax.Array:
    """Attention within segments, `[batch, seq_len, num_heads, head_dim]`. `interpret`: by plain jax, on any device.

    Raises:
      ConfigError: sequences that do not divide into blocks.
    """

    # Here, since it takes a third of a second, also where there is no TPU.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash

    def local(q_BTNH, k_BSKH, v_BSKH, segments_BT):
        kernel = _kernel(q_BTNH.shape[1], q_BTNH.shape[2], window, interpret)
        q_BNTH, k_BKSH, v_BKSH = (x.swapaxes(1, 2) for x in (q_BTNH * q_BTNH.shape[-1] ** -0.5, k_BSKH, v_BSKH))
        segments = splash.SegmentIds(segments_BT, segments_BT)
        out_BNTH: Any = jax.vmap(kernel)(q_BNTH, k_BKSH, v_BKSH, segments)
        return out_BNTH.swapaxes(1, 2)

    return on_own_heads(local, q_BTNH, k_BSKH, v_BSKH, segments_BT)


def _kernel(length: int, heads: int, window: int, interpret: bool):
    block = next((b for b in range(min(_BLOCK, length), 0, -_LANES) if length % b == 0 and b % _LANES == 0), 0)
    if not block:
        raise ConfigError(
            f"config.model.attention='splash': sequences of {length} tokens are no multiple of {_LANES}; "
            "take a seq_len that is, or attention='chunked'"
        )
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    shape = (length, length)
    one = masks.LocalMask(shape, (window - 1, 0), 0) if window else masks.CausalMask(shape)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        use_fused_bwd_kernel=True,
    )
    return splash.make_splash_mha(
        masks.MultiHeadMask([one] * heads),
        head_shards=1,
        q_seq_shards=1,
        block_sizes=sizes,
        interpret=interpret,
    )
