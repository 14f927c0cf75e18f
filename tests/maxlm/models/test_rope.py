"""Rotary embedding against complex numbers in float64, and what it is for: only distances count."""

import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.models import rope
from maxlm.models.config import RopeScaling

HEAD_DIM, BASE = 16, 10_000.0


def _turned(x_BTNH: np.ndarray, positions_BT: np.ndarray, base: float = BASE) -> np.ndarray:
    half = x_BTNH.shape[-1] // 2
    turns_F = base ** (-np.arange(half) / half)
    angle_BTF = positions_BT[:, :, None] * turns_F
    pairs = (x_BTNH[..., :half] + 1j * x_BTNH[..., half:]) * np.exp(1j * angle_BTF)[:, :, None]
    return np.concatenate([pairs.real, pairs.imag], axis=-1)


def _rotate(x_BTNH: np.ndarray, positions_BT: np.ndarray, base: float = BASE) -> np.ndarray:
    length = int(positions_BT.max()) + 1
    cos, sin = rope.angles(jnp.asarray(positions_BT), length, x_BTNH.shape[-1], base)
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


def test_llama_3_1_as_released():
    """Frequencies of Llama 3.1's rope_scaling (factor 8, low 1, high 4, original context 8192; base 500,000)."""
    found = rope.frequencies(128, 500_000.0, RopeScaling("llama3", factor=8.0, original_length=8192))
    expected = {
        0: 1.0, 1: 0.8146172338565447, 28: 0.003211445994752591, 29: 0.002166570763503359, 32: 5.248461609929547e-4,
        35: 9.556212353964683e-05, 63: 3.068925988914511e-07,
    }  # fmt: skip
    np.testing.assert_allclose(found[list(expected)], list(expected.values()), rtol=1e-7)
    assert rope.score_factor(RopeScaling("llama3", factor=8.0)) == 1.0


def test_yarn_keeps_fast_pairs_and_slows_slow_ones():
    """Qwen2.5's card: base 1,000,000, context of 32,768 times 4. The ramp runs from pair 23 to pair 40."""
    scaling = RopeScaling("yarn", factor=4.0, original_length=32_768)
    slowed = rope.frequencies(128, 1e6, scaling) / rope.frequencies(128, 1e6)
    np.testing.assert_allclose(slowed[:24], 1.0, rtol=1e-12)
    np.testing.assert_allclose(slowed[40:], 0.25, rtol=1e-12)
    np.testing.assert_allclose(np.diff(slowed[23:41]), -0.75 / 17, rtol=1e-9)  # a straight line between
    assert rope.score_factor(scaling) == pytest.approx(1.138629, abs=1e-6)
    assert rope.score_factor(RopeScaling("yarn", factor=40.0)) == pytest.approx(1.368888, abs=1e-6)


def test_interpolation_and_larger_base():
    plain = rope.frequencies(HEAD_DIM, BASE)
    np.testing.assert_allclose(rope.frequencies(HEAD_DIM, BASE, RopeScaling("linear", factor=8.0)), plain / 8)
    stretched = rope.frequencies(HEAD_DIM, BASE, RopeScaling("ntk", factor=8.0))
    assert stretched[0] == plain[0]
    assert stretched[-1] == pytest.approx(plain[-1] / 8)


def test_score_factor_scales_cosine_and_sine():
    positions_BT, scaling = jnp.arange(5)[None], RopeScaling("yarn", factor=4.0, original_length=64)
    cos, sin = rope.angles(positions_BT, 5, HEAD_DIM, BASE, scaling)
    np.testing.assert_allclose(cos**2 + sin**2, 1.138629**2, rtol=1e-5)
