"""Splash attention, interpreted on a CPU, against the plain formula: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.models.kernels import xla_attention
from maxlm.models.splash import splash_attention
from tests import tiny


@pytest.mark.parametrize(("window", "sizes"), [(0, {}), (100, {"fsdp": 2, "tensor": 2})])
def test_equals_the_plain_formula(window, sizes):
    rng = np.random.default_rng(0)
    B, T, N, K, H = 2, 256, 4, 2, 64
    q, k, v, out_grad = (jnp.float32(rng.normal(size=(B, T, heads, H))) for heads in (N, K, K, N))
    segments = jnp.asarray(np.cumsum(rng.random((B, T)) < 0.02, axis=1))
    expected, back = jax.vjp(lambda *qkv: xla_attention(*qkv, segments, window), q, k, v)

    def run(*qkv):
        out, pull = jax.vjp(lambda *qkv: splash_attention(*qkv, segments, window, interpret=True), *qkv)
        return out, pull(out_grad)

    with jax.set_mesh(tiny.mesh(**sizes)):
        found, gradients = jax.jit(run)(q, k, v)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, back(out_grad), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_sequences_that_make_no_whole_blocks():
    x = jnp.ones((1, 130, 1, 8))
    with pytest.raises(ConfigError, match="sequences of 130 tokens are no multiple of 128"):
        splash_attention(x, x, x, jnp.ones((1, 130), jnp.int32), interpret=True)
