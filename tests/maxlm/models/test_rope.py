"""Rotary embedding against complex numbers in float64, and what it is for: only distances count."""

import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.models import rope

HEAD_DIM, BASE = 16, 10_000.0


def _turned(x_BTNH: np.ndarray, positions_BT: np.ndarray, base: float = BASE) -> np.ndarray:
    half = x_BTNH.shape[-1] // 2
    turns_F = base ** (-np.arange(half) / half)
    angle_BTF = positions_BT[:, :, None] * turns_F
    pairs = (x_BTNH[..., :half] + 1j * x_BTNH[..., half:]) * np.exp(1j * angle_BTF)[:, :, None]
    return np.concatenate([pairs.real, pairs.imag], axis=-1)


def _rotate(x_BTNH: np.ndarray, positions_BT: np.ndarray, base: float = BASE) -> np.ndarray:
    cos, sin = rope.angles(jnp.asarray(positions_BT), int(positions_BT.max()) + 1, x_BTNH.shape[-1], base)
    return np.asarray(rope.rotate(jnp.asarray(x_BTNH, jnp.float32), cos, sin))


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_equals_complex_multiplication(base):
    rng = np.random.default_rng(0)
    x_BTNH = rng.normal(size=(2, 12, 3, HEAD_DIM))
    positions_BT = rng.integers(0, 500, size=(2, 12))
    np.testing.assert_allclose(_rotate(x_BTNH, positions_BT, base), _turned(x_BTNH, positions_BT, base), atol=2e-4)


def test_short_distances_are_exact_to_float32():
    rng = np.random.default_rng(1)
    x_BTNH, positions_BT = rng.normal(size=(1, 16, 2, HEAD_DIM)), np.arange(16)[None]
    np.testing.assert_allclose(_rotate(x_BTNH, positions_BT), _turned(x_BTNH, positions_BT), atol=3e-6)


def test_scores_depend_on_distance_alone():
    rng = np.random.default_rng(2)
    q, k = np.tile(rng.normal(size=(2, 1, 1, 1, HEAD_DIM)), (1, 1, 10, 1, 1))  # one query, one key, at ten places
    places = np.arange(10)
    scores_TS = np.einsum("tnh,snh->ts", _rotate(q, places[None])[0], _rotate(k, places[None])[0])
    for distance in range(-9, 10):
        diagonal = np.diagonal(scores_TS, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)
    assert np.ptp(scores_TS[0]) > 0.1  # and on distance it does depend


def test_position_zero_changes_nothing():
    x_BTNH = np.random.default_rng(3).normal(size=(2, 3, 2, HEAD_DIM)).astype(np.float32)
    np.testing.assert_array_equal(_rotate(x_BTNH, np.zeros((2, 3), int)), x_BTNH)


def test_keeps_the_dtype():
    cos, sin = rope.angles(jnp.zeros((1, 2), jnp.int32), 1, 4, BASE)
    assert cos.dtype == sin.dtype == jnp.float32
    assert rope.rotate(jnp.ones((1, 2, 1, 4), jnp.bfloat16), cos, sin).dtype == jnp.bfloat16
