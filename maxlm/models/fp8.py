"""The matrix product of a layer in 8-bit floating point, on what qwix keeps: an option for Hopper and later.

Forward both sides are e4m3; backward the incoming gradient is e5m2, which reaches further (Micikevicius et al., 2022,
arXiv 2209.05433). Each row that is summed over is scaled to the format's range by itself, at the moment, so that there
is no history of scales to keep. The kernel's gradient stays in the dtype of the computation: it is what accumulates.
"""

import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from maxlm.errors import ConfigError

_FORWARD, _BACKWARD = jnp.float8_e4m3fn, jnp.float8_e5m2


@jax.custom_vjp
def fp8_linear(x_BTI: jax.Array, kernel_IO: jax.Array) -> jax.Array:
    """``x @ kernel``, `[batch, seq_len, out]` in x's dtype; both rounded to 8 bits.

    Raises:
      ConfigError: qwix is not installed.
    """
    return _product(x_BTI, _FORWARD, kernel_IO.astype(x_BTI.dtype), 0)


def _forward(x_BTI, kernel_IO):
    return _product(x_BTI, _FORWARD, kernel_IO.astype(x_BTI.dtype), 0), (x_BTI, kernel_IO)


def _backward(saved, grad_BTO):
    x_BTI, kernel_IO = saved
    grad_x_BTI = _product(grad_BTO, _BACKWARD, kernel_IO.astype(x_BTI.dtype), 1)
    over_tokens = (((0, 1), (0, 1)), ((), ()))
    grad_kernel_IO = lax.dot_general(x_BTI, grad_BTO, over_tokens, preferred_element_type=kernel_IO.dtype)
    return grad_x_BTI, grad_kernel_IO


fp8_linear.defvjp(_forward, _backward)


def _product(rows_BTX: jax.Array, dtype: Any, kernel_IO: jax.Array, axis: int) -> jax.Array:
    """Rows times the kernel, summed over the kernel's `axis`."""
    if importlib.util.find_spec("qwix") is None:
        raise ConfigError("config.model.matmul='fp8': qwix is missing; pip install 'maxlm[fp8]' brings it")
    qwix = importlib.import_module("qwix")
    rows = qwix.quantize(rows_BTX, dtype, channelwise_axes=(0, 1))
    kernel = qwix.quantize(kernel_IO, _FORWARD, channelwise_axes=(1 - axis,))
    summed = (((2,), (axis,)), ((), ()))
    return qwix.dot_general(rows, kernel, summed, preferred_element_type=jnp.float32).astype(rows_BTX.dtype)
