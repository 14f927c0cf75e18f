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
