"""Rotary position embedding (Su et al., 2021, arXiv 2104.09864), rotate-half as in Hugging Face's Llama.

Frequencies are worked out in float64 on the host; the ways to stretch them for longer contexts are a table, `SCALINGS`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from maxlm.models.config import UNSCALED, RopeScaling

# Frequencies, head_dim, base, what is asked -> the stretched frequencies.
Scaling = Callable[[np.ndarray, int, float, RopeScaling], np.ndarray]


def frequencies(head_dim: int, base: float, scaling: RopeScaling = UNSCALED) -> np.ndarray:
    """Radians per position, ``base^(-2i / head_dim)``, stretched as `scaling` says, float64 `[head_dim / 2]`."""
    plain = base ** (-np.arange(0, head_dim, 2) / head_dim)
    return SCALINGS[scaling.kind](plain, head_dim, base, scaling)


def score_factor(scaling: RopeScaling) -> float:
    """What cosine and sine are multiplied with; its square scales the scores (YaRN, section 3.4)."""
    return 0.1 * math.log(scaling.factor) + 1.0 if scaling.kind == "yarn" else 1.0


def _none(plain: np.ndarray, head_dim: int, base: float, scaling: RopeScaling) -> np.ndarray:
    return plain


def _linear(plain: np.ndarray, head_dim: int, base: float, scaling: RopeScaling) -> np.ndarray:
    """Position interpolation (Chen et al., 2023, arXiv 2306.15595)."""
    return plain / scaling.factor


def _ntk(plain: np.ndarray, head_dim: int, base: float, scaling: RopeScaling) -> np.ndarray:
    """A larger base: the slowest pair turns `factor` times slower, the fastest as before (bloc97, 2023)."""
    return frequencies(head_dim, base * scaling.factor ** (head_dim / max(head_dim - 2, 1)))


def _yarn(plain: np.ndarray, head_dim: int, base: float, scaling: RopeScaling) -> np.ndarray:
    """NTK by parts (Peng et al., 2023, arXiv 2309.00071, section 3.2), bounds rounded outwards as its authors do."""

    def pair_of(turns: float) -> float:
        """Index of the pair that makes so many turns within the original context."""
        return head_dim * math.log(scaling.original_length / (turns * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(pair_of(scaling.beta_fast)), 0)
    high = min(math.ceil(pair_of(scaling.beta_slow)), head_dim - 1)
    slow = np.clip((np.arange(head_dim // 2) - low) / max(high - low, 1e-3), 0.0, 1.0)
    return plain * (1 - slow) + plain / scaling.factor * slow


def _llama3(plain: np.ndarray, head_dim: int, base: float, scaling: RopeScaling) -> np.ndarray:
    """Llama 3.1's stretching, as its released code does it: by the turns that a pair makes in the original context."""
    turns = scaling.original_length * plain / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return plain * kept + plain / scaling.factor * (1 - kept)


SCALINGS: dict[str, Scaling] = {"none": _none, "linear": _linear, "ntk": _ntk, "yarn": _yarn, "llama3": _llama3}


def angles(
    positions_BT: jax.Array, length: int, head_dim: int, base: float, scaling: RopeScaling = UNSCALED
) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine of every position's angles, float32 `[batch, seq_len, 1, head_dim / 2]`; positions < length.

    Looked up in a table of all positions: computed in place they look so cheap that XLA computes them anew for every
    head of every layer.
    """
    turns = jnp.arange(length, dtype=jnp.float32)[:, None] * jnp.float32(frequencies(head_dim, base, scaling))
    factor = score_factor(scaling)
    return (factor * jnp.cos(turns))[positions_BT][:, :, None], (factor * jnp.sin(turns))[positions_BT][:, :, None]


def rotate(x_BTNH: jax.Array, cos_BT1F: jax.Array, sin_BT1F: jax.Array) -> jax.Array:
    """Turns the pairs (i, i + head_dim / 2) of every head; computed in float32, returned in x's dtype."""
    first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos_BT1F - second * sin_BT1F, second * cos_BT1F + first * sin_BT1F], axis=-1)
    return turned.astype(x_BTNH.dtype)
