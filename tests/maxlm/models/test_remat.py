"""Rematerialisation: the same gradients under every policy, and what each of them keeps in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.models.decoder import DecoderFunction
from maxlm.models.remat import POLICIES
from maxlm.train.config import TrainSettings
from maxlm.train.step import batch_loss
from tests import tiny


def _gradient(**changes):
    model = DecoderFunction(tiny.model(**changes))
    batch = jax.tree.map(jnp.asarray, tiny.batch())
    gradient = jax.jit(jax.value_and_grad(lambda params: batch_loss(model, params, batch, TrainSettings()).loss))
    return model, gradient


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_are_those_without(policy):
    model, plain = _gradient()
    params = model.init(jax.random.key(0))
    loss, expected = plain(params)
    found_loss, found = _gradient(remat=policy)[1](params)
    np.testing.assert_allclose(found_loss, loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected)


def _temporaries(policy: str, layers: int) -> int:
    """Bytes that the gradient takes while it is computed: what is kept of each layer, and the work of one."""
    model, gradient = _gradient(num_layers=layers, remat=policy)
    return gradient.lower(model.abstract_params()).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(("policy", "streams"), [("full", 1), ("attention", 2.125), ("dots", 9.125)])
def test_memory_grows_by_what_a_layer_keeps(policy, streams):
    """In units of the residual stream, `tokens × embed` numbers; the one that enters the layer is kept always.

    Attention: its output is as wide, and there is a number for each of 4 heads (of 32). Dots: query 1, key and value
    1/2 each, what attention writes 1, gate and up 2 each.
    """
    stream = tiny.BATCH * tiny.SEQ_LEN * 32 * 4
    growth = (_temporaries(policy, 10) - _temporaries(policy, 2)) / (8 * stream)
    assert growth == pytest.approx(streams, rel=0.02)


def _program_size(layers: int, scan: bool) -> int:
    """Lines of the program that the compiler is given."""
    model, gradient = _gradient(num_layers=layers, scan_layers=scan)
    return gradient.lower(model.abstract_params()).as_text().count("\n")


def test_the_program_does_not_grow_with_the_layers():
    assert _program_size(32, scan=True) == _program_size(2, scan=True)
    assert _program_size(4, scan=False) > 1.5 * _program_size(2, scan=False)
