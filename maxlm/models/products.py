"""The matrix product of a layer, by the name that a config gives it."""

from collections.abc import Callable

import jax

from maxlm.models.fp8 import fp8_linear
from maxlm.models.linear import linear

# (activations `[batch, seq_len, in]`, kernel `[in, out]`) -> `[batch, seq_len, out]`
PRODUCTS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {"plain": linear, "fp8": fp8_linear}
