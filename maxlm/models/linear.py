"""The matrix product of a layer."""

import jax
import jax.numpy as jnp
from jax import lax


@jax.custom_vjp
def linear(x_BTI: jax.Array, kernel_IO: jax.Array) -> jax.Array:
    """``x @ kernel`` with the kernel cast to x's dtype, `[batch, seq_len, out]`.

    Value and gradients are those of the plain product. The kernel's gradient is written as xᵀ·g: autodiff takes
    (gᵀ·x)ᵀ, for which XLA on a CPU writes a transposed copy of g. It is summed up in the kernel's own dtype.
    """
    return x_BTI @ kernel_IO.astype(x_BTI.dtype)


def _forward(x_BTI, kernel_IO):
    # The product itself and not `linear` again, behind which remat="dots" would not see it.
    return x_BTI @ kernel_IO.astype(x_BTI.dtype), (x_BTI, kernel_IO)


def _backward(saved, grad_BTO):
    x_BTI, kernel_IO = saved
    grad_x_BTI = jnp.einsum("bto,io->bti", grad_BTO, kernel_IO.astype(x_BTI.dtype))
    over_tokens = (((0, 1), (0, 1)), ((), ()))
    grad_kernel_IO = lax.dot_general(x_BTI, grad_BTO, over_tokens, preferred_element_type=kernel_IO.dtype)
    return grad_x_BTI, grad_kernel_IO


linear.defvjp(_forward, _backward)
