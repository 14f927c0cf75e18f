"""The chunked loss against float64 NumPy and against autodiff of the plain formula; what it holds in memory."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.train.config import TrainSettings
from maxlm.train.hlo import collectives
from maxlm.train.losses import auto_chunks, next_token_loss, sums_by_domain
from maxlm.train.state import abstract_state
from maxlm.train.step import batch_loss, make_train_step
from tests import tiny

B, T, D, V = 3, 12, 8, 20
CHUNKS = [n for n in range(1, T + 1) if T % n == 0]


def _case(seed: int = 0):
    rng = np.random.default_rng(seed)
    hidden_BTD, table_VD = 2 * rng.normal(size=(B, T, D)), rng.normal(size=(V, D))
    targets_BT, weights_BT = rng.integers(0, V, (B, T)), (rng.random((B, T)) < 0.7).astype(np.float32)
    return jnp.float32(hidden_BTD), jnp.float32(table_VD), jnp.int32(targets_BT), jnp.asarray(weights_BT)


def _by_hand(hidden_BTD, table_VD, targets_BT, weights_BT, z_loss):
    logits_BTV = np.float64(hidden_BTD) @ np.float64(table_VD).T
    top = logits_BTV.max(axis=-1)
    lse_BT = top + np.log(np.exp(logits_BTV - top[..., None]).sum(axis=-1))
    nll_BT = lse_BT - np.take_along_axis(logits_BTV, np.asarray(targets_BT)[..., None], axis=-1)[..., 0]
    total = max(float(np.sum(weights_BT)), 1.0)
    return np.sum(weights_BT * (nll_BT + z_loss * lse_BT**2)) / total, nll_BT


def _plain(hidden_BTD, table_VD, targets_BT, weights_BT, z_loss):
    """The definition, all logits at once: for autodiff."""
    logits_BTV = hidden_BTD @ table_VD.T
    lse_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    nll_BT = lse_BT - jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    return jnp.sum(weights_BT * (nll_BT + z_loss * lse_BT**2)) / jnp.maximum(weights_BT.sum(), 1.0)


@functools.partial(jax.jit, static_argnames=("z_loss", "chunks"))
def _value_and_gradients(hidden_BTD, table_VD, targets_BT, weights_BT, z_loss, chunks):
    def loss(hidden_BTD, table_VD):
        losses = next_token_loss(hidden_BTD, table_VD, targets_BT, weights_BT, z_loss=z_loss, chunks=chunks)
        return losses.loss, losses.nll_BT

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(hidden_BTD, table_VD)


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
@pytest.mark.parametrize("chunks", CHUNKS)
def test_value_and_gradients(chunks, z_loss):
    case = _case()
    expected, expected_nll_BT = _by_hand(*case, z_loss)
    (value, nll_BT), gradients = _value_and_gradients(*case, z_loss=z_loss, chunks=chunks)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(nll_BT, expected_nll_BT, atol=1e-5)
    without_gradient = next_token_loss(*case, z_loss=z_loss, chunks=chunks)
    np.testing.assert_allclose(without_gradient.loss, expected, rtol=1e-6)
    np.testing.assert_allclose(without_gradient.nll_BT, expected_nll_BT, atol=1e-5)
    wanted = jax.grad(_plain, (0, 1))(*case, z_loss)
    for found, right in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(found, right, atol=2e-6)


@pytest.mark.parametrize("chunks", [1, 3])
def test_tokens_without_weight_count_nowhere(chunks):
    hidden_BTD, table_VD, targets_BT, weights_BT = _case(1)
    value, gradients = jax.value_and_grad(
        lambda h: next_token_loss(h, table_VD, targets_BT, weights_BT, z_loss=0.01, chunks=chunks).loss
    )(hidden_BTD)
    assert np.all(np.asarray(gradients)[np.asarray(weights_BT) == 0] == 0)
    assert np.all(np.abs(np.asarray(gradients)[np.asarray(weights_BT) == 1]).max(axis=-1) > 0)
    other = jnp.where(weights_BT == 0, (targets_BT + 1) % V, targets_BT)
    changed = next_token_loss(
        jnp.where(weights_BT[..., None] == 0, -hidden_BTD, hidden_BTD), table_VD, other, weights_BT,
        z_loss=0.01, chunks=chunks,
    )  # fmt: skip
    np.testing.assert_allclose(changed.loss, value, rtol=1e-6)


def test_a_batch_of_padding_has_loss_zero():
    hidden_BTD, table_VD, targets_BT, weights_BT = _case(2)
    loss, gradient = jax.value_and_grad(
        lambda h: next_token_loss(h, table_VD, targets_BT, 0 * weights_BT, chunks=2).loss
    )(hidden_BTD)
    assert loss == 0
    assert np.all(np.asarray(gradient) == 0)


def test_incoming_gradient_scales_and_per_token_losses_pass_none():
    hidden_BTD, table_VD, targets_BT, weights_BT = _case(3)

    def scaled(hidden_BTD, table_VD, factor, nll_weight):
        out = next_token_loss(hidden_BTD, table_VD, targets_BT, weights_BT, chunks=4)
        return factor * out.loss + nll_weight * out.nll_BT.sum()

    gradient = jax.jit(jax.grad(scaled, (0, 1)))
    for found, once in zip(
        gradient(hidden_BTD, table_VD, 3.0, 5.0), gradient(hidden_BTD, table_VD, 1.0, 0.0), strict=True
    ):
        np.testing.assert_allclose(found, 3 * once, rtol=1e-6)


def test_large_logits_stay_finite():
    hidden_BTD, table_VD, targets_BT, weights_BT = _case(4)
    value, gradients = jax.value_and_grad(
        lambda h: next_token_loss(1e3 * h, table_VD, targets_BT, weights_BT, z_loss=1e-4, chunks=2).loss
    )(hidden_BTD)
    expected, _ = _by_hand(1e3 * np.float64(hidden_BTD), table_VD, targets_BT, weights_BT, 1e-4)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(gradients).all()


def test_bfloat16_hidden_states():
    hidden_BTD, table_VD, targets_BT, weights_BT = _case(5)
    narrow_BTD = hidden_BTD.astype(jnp.bfloat16)
    (value, _), (hidden_grad, table_grad) = _value_and_gradients(
        narrow_BTD, table_VD, targets_BT, weights_BT, z_loss=0.0, chunks=3
    )
    rounded_VD = table_VD.astype(jnp.bfloat16)
    expected, _ = _by_hand(np.float32(narrow_BTD), np.float32(rounded_VD), targets_BT, weights_BT, 0.0)
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    assert (hidden_grad.dtype, table_grad.dtype) == (jnp.bfloat16, jnp.float32)
    wanted = jax.grad(_plain, (0, 1))(hidden_BTD, table_VD, targets_BT, weights_BT, 0.0)
    for found, right in zip((hidden_grad, table_grad), wanted, strict=True):
        np.testing.assert_allclose(np.float32(found), right, atol=0.02 * float(jnp.abs(right).max()))


def _training_loss_hlo(chunks: int) -> str:
    """The compiled loss of a whole model with its gradient. The vocabulary is as large as no other size in it."""
    config = tiny.model(vocab_size=1000)
    model = DecoderFunction(config)
    batch = jax.tree.map(jnp.asarray, tiny.batch(vocab=1000))
    settings = TrainSettings(loss_chunks=chunks, z_loss=1e-4)
    gradient = jax.jit(jax.value_and_grad(lambda params: batch_loss(model, params, batch, settings).loss))
    return gradient.lower(model.abstract_params()).compile().as_text()


@pytest.mark.parametrize("sizes", [{"fsdp": 2, "context": 2}, {"data": 2, "fsdp": 2, "tensor": 2}])
def test_devices_talk_as_often_however_many_chunks(sizes):
    """The output matrix is gathered before the chunks, and its gradient summed after them."""

    def talk(chunks: int) -> dict[str, int]:
        mesh, settings = tiny.mesh(**sizes), TrainSettings(loss_chunks=chunks)
        model, tx, schedule = DecoderFunction(tiny.model()), optax.sgd(1e-3), optax.constant_schedule(1e-3)
        with jax.set_mesh(mesh):
            step = make_train_step(model, tx, schedule, settings, mesh, num_domains=3)
            batch = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tiny.batch())
            text = step.lower(abstract_state(model, tx, mesh), batch, NO_LIMITS).compile().as_text()
        counted: dict[str, int] = {}
        for one in collectives(text):
            counted[one.kind] = counted.get(one.kind, 0) + one.times
        return counted

    few, many = talk(2), talk(8)
    assert few["all-gather"] > 0
    extra = sum(many.values()) - sum(few.values())
    assert extra <= (0 if sizes.get("tensor", 1) == 1 else 6 * 4)  # tensor: a few numbers for each token of a chunk


def _logits_of_all_tokens(hlo: str) -> list[str]:
    """Float arrays with a logit for every token of the batch, in whatever order of dimensions."""
    shapes = {tuple(map(int, dims.split(","))) for dims in re.findall(r"(?:f32|bf16|f16)\[([\d,]+)\]", hlo)}
    return [str(s) for s in shapes if 1000 in s and np.prod(s) >= 1000 * tiny.BATCH * tiny.SEQ_LEN]


def test_logits_of_a_whole_batch_never_exist():
    assert _logits_of_all_tokens(_training_loss_hlo(chunks=1))  # the search finds them where they are
    assert not _logits_of_all_tokens(_training_loss_hlo(chunks=4))


@settings(max_examples=200)
@given(st.integers(1, 512), st.integers(1, 4096), st.integers(1, 300_000))
def test_auto_chunks_divide_and_fit(batch, seq_len, vocab):
    chunks = auto_chunks(batch, seq_len, vocab)
    assert seq_len % chunks == 0
    piece_bytes = batch * (seq_len // chunks) * vocab * 4
    assert piece_bytes < 2 * (32 << 20) or chunks == seq_len  # a token a piece is as small as it gets
    smaller = [n for n in range(1, chunks) if seq_len % n == 0]
    if smaller:  # no needless piece
        assert batch * (seq_len // smaller[-1]) * vocab * 4 > 32 << 20


def test_sums_by_domain():
    rng = np.random.default_rng(6)
    values_BT, domains_BT = rng.random((4, 10)).astype(np.float32), rng.choice([0, 1, 2, 255], (4, 10))
    found = sums_by_domain(jnp.asarray(values_BT), jnp.asarray(domains_BT), 3)
    np.testing.assert_allclose(found, [values_BT[domains_BT == d].sum() for d in range(3)], rtol=1e-6)
