"""Attention over split sequences against the plain formula: values and gradients, documents, windows, heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.models import context_attention as module
from maxlm.models.context_attention import context_attention, gathered, spread
from maxlm.models.kernels import xla_attention
from tests import tiny


def test_spread_gives_each_device_a_chunk_from_either_end():
    x = jnp.arange(16)[None]
    np.testing.assert_array_equal(spread(x, 2)[0], [*range(4), *range(12, 16), *range(4, 8), *range(8, 12)])
    np.testing.assert_array_equal(gathered(spread(x, 4), 4), x)


@pytest.mark.parametrize(
    ("sizes", "window", "block"),
    [({"context": 2}, 0, 512), ({"context": 4, "fsdp": 2}, 0, 2), ({"context": 2, "tensor": 2}, 7, 4)],
)
def test_equals_the_plain_formula(sizes, window, block, monkeypatch):
    """Also with blocks smaller than a device's chunk, and a window that leaves out whole blocks."""
    monkeypatch.setattr(module, "_BLOCK", block)
    rng, ways = np.random.default_rng(0), sizes["context"]
    B, T, N, K, H = 2, 32, 4, 2, 8
    q, k, v, out_grad = (jnp.float32(rng.normal(size=(B, T, heads, H))) for heads in (N, K, K, N))
    segments = jnp.asarray(np.cumsum(rng.random((B, T)) < 0.1, axis=1) + 1)

    def plain(q, k, v):
        return xla_attention(q, k, v, segments, window)

    def split(q, k, v):
        parts = (spread(x, ways) for x in (q, k, v, segments))
        return gathered(context_attention(*parts, window, ways), ways)

    expected, back = jax.vjp(plain, q, k, v)
    with jax.set_mesh(tiny.mesh(**sizes)):
        found, gradients = jax.jit(lambda *qkv: (lambda out, pull: (out, pull(out_grad)))(*jax.vjp(split, *qkv)))(
            q, k, v
        )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for a, b in zip(gradients, back(out_grad), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
