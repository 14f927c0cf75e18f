"""The pipeline against layers run one after the other (that training agrees: tests/maxlm/train/test_step.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.parallel.pipeline import pipeline
from tests import tiny

LAYERS, ROWS = 8, 16


def _layers(x_BTD, weights, shift_B):
    """Layers that do not commute, each with what belongs to its row."""
    for i in range(weights.shape[0]):
        x_BTD = jnp.tanh(x_BTD @ weights[i]) + shift_B[:, None, None]
    return x_BTD


def _inputs():
    rng = np.random.default_rng(0)
    weights, x_BTD, shift_B = rng.normal(size=(LAYERS, 4, 4)), rng.normal(size=(ROWS, 3, 4)), rng.normal(size=ROWS)
    return jnp.float32(weights), jnp.float32(x_BTD), jnp.float32(shift_B)


def _both(weights, x_BTD, shift_B, run):
    """Outputs, and the gradients of a sum in which no two places count alike."""
    weigh = jnp.arange(x_BTD.size, dtype=jnp.float32).reshape(x_BTD.shape) / x_BTD.size
    out, back = jax.vjp(lambda w, x: run(w, x, shift_B), weights, x_BTD)
    return out, back(weigh)


@pytest.mark.parametrize(
    ("sizes", "microbatches", "repeats"),
    [({"stage": 4}, 0, 1), ({"stage": 2, "data": 2}, 8, 1), ({"stage": 2, "fsdp": 2}, 4, 4), ({"stage": 4}, 8, 2)],
)
def test_equals_layers_in_turn(sizes, microbatches, repeats):
    weights, x_BTD, shift_B = _inputs()
    expected, expected_gradients = _both(weights, x_BTD, shift_B, lambda w, x, s: _layers(x, w, s))

    def run(w, x, s):
        return pipeline(_layers, w, x, s, microbatches, repeats)

    with jax.set_mesh(tiny.mesh(**sizes)):
        found, gradients = jax.jit(lambda *inputs: _both(*inputs, run))(weights, x_BTD, shift_B)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for a, b in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("microbatches", "repeats", "message"),
    [
        (0, 3, r"num_layers=8 does not divide by the mesh's stage=2 times model\.pipeline_repeats=3"),
        (3, 1, r"pipeline_microbatches=3: it must be a multiple of the mesh's stage=2"),
        (32, 1, r"must divide the 16 rows"),
    ],
)
def test_what_does_not_divide_is_named(microbatches, repeats, message):
    weights, x_BTD, shift_B = _inputs()
    with jax.set_mesh(tiny.mesh(stage=2)), pytest.raises(ConfigError, match=message):
        pipeline(_layers, weights, x_BTD, shift_B, microbatches, repeats)
