"""Every attention kernel against float64 NumPy: values and gradients, documents, grouped heads, padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.errors import ConfigError
from maxlm.models import kernels

PLAIN = ("chunked", "xla")  # run on any device, for sequences of any length; for splash see test_splash.py
# batch, seq_len, heads, kv heads, head_dim: few, since each is compiled once
SHAPES = [(2, 12, 4, 2, 8), (1, 16, 3, 1, 4), (2, 8, 2, 2, 16)]


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    B, T, N, K, H = shape
    return tuple(2 * rng.normal(size=(B, T, heads, H)) for heads in (N, K, K))


def _segments(rng: np.random.Generator, B: int, T: int) -> np.ndarray:
    """Documents of random lengths; some rows end in padding (segment 0)."""
    segments_BT = np.cumsum(rng.random((B, T)) < 0.25, axis=1) + 1
    for row in range(B):
        segments_BT[row, T - rng.integers(0, T // 2) :] = 0
    return segments_BT.astype(np.int32)


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _forward_and_gradients(q_BTNH, k_BSKH, v_BSKH, segments_BT, out_grad_BTNH, window=0):
    """Attention, head by head, and its gradients, all by hand in float64."""
    B, _, N, H = q_BTNH.shape
    group = N // k_BSKH.shape[2]
    out, dq, dk, dv = (np.zeros_like(x) for x in (q_BTNH, q_BTNH, k_BSKH, v_BSKH))
    for b in range(B):
        seen_TS = np.tril(segments_BT[b, :, None] == segments_BT[b, None, :])
        if window:
            seen_TS = np.triu(seen_TS, 1 - window)
        for n in range(N):
            q, k, v, dout = q_BTNH[b, :, n], k_BSKH[b, :, n // group], v_BSKH[b, :, n // group], out_grad_BTNH[b, :, n]
            weights_TS = _softmax(np.where(seen_TS, q @ k.T / np.sqrt(H), -np.inf))
            dweights_TS = dout @ v.T
            dscores_TS = weights_TS * (dweights_TS - (weights_TS * dweights_TS).sum(axis=1, keepdims=True))
            out[b, :, n] = weights_TS @ v
            dq[b, :, n] = dscores_TS @ k / np.sqrt(H)
            dk[b, :, n // group] += dscores_TS.T @ q / np.sqrt(H)
            dv[b, :, n // group] += weights_TS.T @ dout
    return out, (dq, dk, dv)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(name, window, q, k, v, segments_BT, out_grad):
    out, gradients = jax.vjp(lambda *qkv: kernels.KERNELS[name](*qkv, segments_BT, window), q, k, v)
    return out, gradients(out_grad)


@pytest.mark.parametrize("name", PLAIN)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from(SHAPES), window=st.sampled_from([0, 3]))
def test_equals_float64(name, seed, shape, window):
    rng = np.random.default_rng(seed)
    qkv, segments_BT = _random(rng, shape), _segments(rng, *shape[:2])
    out_grad = rng.normal(size=qkv[0].shape)
    expected, expected_gradients = _forward_and_gradients(*qkv, segments_BT, out_grad, window)
    out, gradients = _run(name, window, *(jnp.float32(x) for x in qkv), segments_BT, jnp.float32(out_grad))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, atol=5e-5)


@pytest.mark.parametrize("window", [0, 100, 129, 300])
def test_chunks_and_windows_of_long_rows(window):
    """Rows of several chunks of queries, where a window leaves out whole chunks of keys."""
    rng = np.random.default_rng(3)
    shape = (1, 390, 2, 1, 4)
    qkv, segments_BT = _random(rng, shape), _segments(rng, 1, 390) // 40  # long documents
    out_grad = rng.normal(size=qkv[0].shape)
    expected, expected_gradients = _forward_and_gradients(*qkv, segments_BT, out_grad, window)
    out, gradients = _run("chunked", window, *(jnp.float32(x) for x in qkv), segments_BT, jnp.float32(out_grad))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_bfloat16_stays_near(name):
    rng = np.random.default_rng(0)
    qkv, segments_BT = _random(rng, SHAPES[0]), _segments(rng, *SHAPES[0][:2])
    rounded = [jnp.bfloat16(x) for x in qkv]
    expected, _ = _forward_and_gradients(*(np.float64(x) for x in rounded), segments_BT, np.zeros(qkv[0].shape))
    out = kernels.KERNELS[name](*rounded, segments_BT, 0)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float64(out), expected, atol=0.03)


def test_a_token_alone_in_its_document_sees_itself():
    rng = np.random.default_rng(1)
    q, k, v = (jnp.float32(x) for x in _random(rng, SHAPES[0]))
    alone_BT = jnp.broadcast_to(jnp.arange(1, 13), (2, 12))
    for name in PLAIN:
        np.testing.assert_allclose(
            kernels.KERNELS[name](q, k, v, alone_BT, 0), jnp.repeat(v, 2, axis=2), atol=1e-6, err_msg=name
        )


def test_cached_attention_sees_positions_up_to_its_own():
    B, S, N, K, H = 2, 10, 4, 2, 8
    rng = np.random.default_rng(2)
    q_BTNH, keys_BKSH, values_BKSH = rng.normal(size=(B, 3, N, H)), *rng.normal(size=(2, B, K, S, H))
    positions_BT = np.array([[0, 4, 9], [2, 3, 7]])
    out_BTNH = kernels.cached_attention(*(jnp.float32(x) for x in (q_BTNH, keys_BKSH, values_BKSH)), positions_BT)
    for b in range(B):
        for t, place in enumerate(positions_BT[b]):
            for n in range(N):
                keys_SH, values_SH = keys_BKSH[b, n // 2, : place + 1], values_BKSH[b, n // 2, : place + 1]
                expected_H = _softmax(keys_SH @ q_BTNH[b, t, n] / np.sqrt(H)) @ values_SH
                np.testing.assert_allclose(out_BTNH[b, t, n], expected_H, atol=1e-5)


def test_names():
    assert kernels.attention("auto") in kernels.KERNELS.values()
    assert kernels.attention("xla") is kernels.KERNELS["xla"]
    with pytest.raises(ConfigError, match=r"config\.model\.attention: unknown kernel 'xlaa'; did you mean 'xla'\?"):
        kernels.attention("xlaa")


@pytest.mark.parametrize("name", PLAIN)
def test_the_check_at_start_up_passes_what_keeps_documents_apart(name):
    kernels.check_keeps_documents_apart(name)
    kernels.check_keeps_documents_apart(name, window=50)


@pytest.mark.parametrize(
    "broken",
    [
        lambda q, k, v, segments, window: kernels.xla_attention(q, k, v, segments * 0, window),
        lambda q, k, v, segments, window: kernels.masked_attention(
            q, k, v, jnp.ones((1, 256, 256), bool) & (segments[:, :, None] >= segments[:, None])
        ),
    ],
    ids=["ignores segments", "sees documents before"],
)
def test_the_check_at_start_up_finds_what_does_not(broken, monkeypatch):
    monkeypatch.setitem(kernels.KERNELS, "broken", broken)
    with pytest.raises(ConfigError, match="attends across packed documents"):
        kernels.check_keeps_documents_apart("broken")
