"""GPU kernels against the plain formula: interpreted on a CPU, or, where there is a GPU, as they are."""

import functools
import importlib.util
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.models.gpu_attention import best_kernel, mosaic_attention, ranged_attention, triton_attention
from maxlm.models.kernels import xla_attention
from tests import tiny

needs_tokamax = pytest.mark.skipif(
    importlib.util.find_spec("tokamax") is None, reason="tokamax comes with pip install 'maxlm[cuda]'"
)


def _compare(kernel, window=0, mesh=None, T=96):
    """Values and gradients of a kernel of (queries, keys, values, segments), for packed rows with grouped heads."""
    rng = np.random.default_rng(0)
    B, N, K, H = 2, 4, 2, 16
    q, k, v, out_grad = (jnp.float32(rng.normal(size=(B, T, heads, H))) for heads in (N, K, K, N))
    segments = jnp.asarray(np.cumsum(rng.random((B, T)) < 0.05, axis=1), jnp.int32)
    expected, back = jax.vjp(lambda *qkv: xla_attention(*qkv, segments, window), q, k, v)

    def run(*qkv):
        out, pull = jax.vjp(lambda *qkv: kernel(*qkv, segments), *qkv)
        return out, pull(out_grad)

    with jax.set_mesh(mesh or tiny.one_device()):
        found, gradients = jax.jit(run)(q, k, v)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, back(out_grad), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("sizes", [{}, {"fsdp": 2, "tensor": 2}])
def test_triton_equals_the_plain_formula(sizes):
    _compare(functools.partial(triton_attention, interpret=True), mesh=tiny.mesh(**sizes))


@needs_tokamax
@pytest.mark.parametrize("window", [0, 20])
def test_ranges_of_keys_say_what_segments_and_windows_do(window):
    """The ranges that we give tokamax's kernels, by its own plain formula."""
    from tokamax._src.ops.attention.base import DotProductAttention

    _compare(functools.partial(ranged_attention, DotProductAttention(), window), window)


def test_mosaic_does_float32_in_chunks():
    _compare(functools.partial(mosaic_attention, window=7), window=7, T=64)


def test_the_best_kernel_follows_the_device(monkeypatch):
    hopper, ampere = SimpleNamespace(compute_capability="9.0"), SimpleNamespace(compute_capability="8.0")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert (best_kernel(hopper), best_kernel(ampere), best_kernel(object())) == ("mosaic", "triton", "triton")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert best_kernel(hopper) == "triton"


def test_what_triton_cannot_do_is_named():
    x, segments = jnp.ones((1, 100, 1, 8)), jnp.ones((1, 100), jnp.int32)
    with pytest.raises(ConfigError, match="sequences of 100 tokens are no multiple of 16"):
        triton_attention(x, x, x, segments, interpret=True)
    with pytest.raises(ConfigError, match=r"'triton' knows no model\.sliding_window"):
        triton_attention(x, x, x, segments, window=5)
