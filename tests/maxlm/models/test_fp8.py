"""8-bit products: how near they come, and that a model trains with them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxlm.errors import ConfigError
from maxlm.models.decoder import DecoderFunction
from maxlm.models.fp8 import fp8_linear
from maxlm.models.linear import linear
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.train.config import TrainSettings
from maxlm.train.state import init_state
from maxlm.train.step import make_train_step
from tests import tiny


def _relative(found, expected) -> float:
    return float(np.linalg.norm(np.float32(found) - np.float32(expected)) / np.linalg.norm(np.float32(expected)))


def _case(scale: float = 1.0):
    rng = np.random.default_rng(0)
    x_BTI, kernel_IO = scale * rng.normal(size=(2, 24, 64)), rng.normal(size=(64, 48)) / 8
    return jnp.bfloat16(x_BTI), jnp.float32(kernel_IO), jnp.bfloat16(rng.normal(size=(2, 24, 48)))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_values_and_gradients_stay_near(scale):
    """e4m3 keeps 3 bits after the leading one, so that single numbers are off by up to 6 %, and e5m2 2 bits: 12 %."""
    x, kernel, out_grad = _case(scale)
    out, pull = jax.vjp(fp8_linear, x, kernel)
    expected, plain_pull = jax.vjp(linear, x, kernel)
    assert out.dtype == jnp.bfloat16
    assert 0.005 < _relative(out, expected) < 0.05
    (x_grad, kernel_grad), (x_wanted, kernel_wanted) = pull(out_grad), plain_pull(out_grad)
    assert (x_grad.dtype, kernel_grad.dtype) == (jnp.bfloat16, jnp.float32)
    assert 0.005 < _relative(x_grad, x_wanted) < 0.09
    assert _relative(kernel_grad, kernel_wanted) < 1e-6  # not rounded


def test_rows_have_scales_of_their_own():
    """One row of large numbers does not push another's below what the format can say."""
    x, kernel, _ = _case()
    mixed = x.at[0].multiply(1e6)
    np.testing.assert_array_equal(fp8_linear(mixed, kernel)[1], fp8_linear(x, kernel)[1])


def test_products_are_of_8_bits():
    x, kernel, _ = _case()
    text = jax.jit(fp8_linear).lower(x, kernel).as_text()
    (product,) = [line for line in text.splitlines() if "dot_general" in line]
    assert product.count("f8E4M3FN") == 2


def _losses(matmul: str, steps: int = 60) -> list[float]:
    model = DecoderFunction(tiny.model(matmul=matmul))
    tx, mesh, schedule = optax.adam(3e-3), tiny.one_device(), optax.constant_schedule(3e-3)
    with jax.set_mesh(mesh):
        state = init_state(model, tx, mesh, seed=0)
        step = make_train_step(model, tx, schedule, TrainSettings(), mesh, num_domains=3)
        losses = []
        for i in range(steps):
            state, metrics = step(state, jax.tree.map(jnp.asarray, tiny.batch(seed=i % 10)), NO_LIMITS)
            losses.append(float(metrics["loss"]))
    return losses


def test_training_goes_on_as_without():
    plain, rounded = _losses("plain"), _losses("fp8")
    assert plain[-1] < plain[0] - 0.5
    assert np.mean(rounded[-5:]) == pytest.approx(np.mean(plain[-5:]), rel=0.03)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'maxlm\[fp8\]'"):
        fp8_linear(*_case()[:2])
