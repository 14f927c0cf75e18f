"""AdamW against float64 NumPy, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from maxlm.models.decoder import DecoderFunction
from maxlm.train.config import OptimizerConfig
from maxlm.train.optimizer import decays, make_optimizer
from tests import tiny

CONFIG = OptimizerConfig(learning_rate=0.02, b1=0.8, b2=0.9, eps=1e-3, weight_decay=0.3, clip_norm=1.5)
SHAPES = {"layers": {"norm": {"scale": (2, 5)}, "mlp": {"up": (2, 5, 3)}}, "embedding": (7, 5)}


def _random(rng: np.random.Generator, size: float):
    return jax.tree.map(
        lambda shape: size * rng.normal(size=shape), SHAPES, is_leaf=lambda leaf: isinstance(leaf, tuple)
    )


class _AdamW:
    """Loshchilov and Hutter, 2019, algorithm 2, after clipping by the global norm."""

    def __init__(self, params):
        self.m = jax.tree.map(np.zeros_like, params)
        self.v = jax.tree.map(np.zeros_like, params)
        self.t = 0

    def step(self, params, grads, rate):
        norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
        grads = jax.tree.map(lambda g: g * min(1.0, CONFIG.clip_norm / norm), grads)
        self.t += 1
        self.m = jax.tree.map(lambda m, g: CONFIG.b1 * m + (1 - CONFIG.b1) * g, self.m, grads)
        self.v = jax.tree.map(lambda v, g: CONFIG.b2 * v + (1 - CONFIG.b2) * g**2, self.v, grads)

        def moved(path, p, m, v):
            m, v = m / (1 - CONFIG.b1**self.t), v / (1 - CONFIG.b2**self.t)
            decay = 0.0 if "scale" in jax.tree_util.keystr(path) else CONFIG.weight_decay
            return p - rate * (m / (np.sqrt(v) + CONFIG.eps) + decay * p)

        return jax.tree_util.tree_map_with_path(moved, params, self.m, self.v)


def test_steps_equal_numpy():
    rng = np.random.default_rng(0)
    expected = _random(rng, 1.0)
    params = jax.tree.map(jnp.float32, expected)
    schedule = optax.linear_schedule(CONFIG.learning_rate, 0.0, 10)
    tx = make_optimizer(CONFIG, schedule)
    state, reference = tx.init(params), _AdamW(expected)
    update = jax.jit(tx.update)
    for step, size in enumerate([3.0, 0.01, 1.0, 30.0, 0.001, 0.2]):  # some are clipped, others are not
        grads = _random(rng, size)
        updates, state = update(jax.tree.map(jnp.float32, grads), state, params)
        params = optax.apply_updates(params, updates)
        expected = reference.step(expected, grads, rate=CONFIG.learning_rate * (1 - step / 10))
        jax.tree.map(lambda p, e: np.testing.assert_allclose(p, e, atol=3e-6), params, expected)


def test_norms_do_not_decay_and_everything_else_does():
    config = tiny.model(tie_embeddings=False)
    params = DecoderFunction(config).abstract_params()
    for path, decaying in jax.tree.leaves_with_path(decays(params)):
        name = jax.tree_util.keystr(path)
        assert decaying is ("norm" not in name), name
    assert sum(not leaf for leaf in jax.tree.leaves(decays(params))) == 3


def test_without_gradients_only_decay_moves():
    params = jax.tree.map(jnp.float32, _random(np.random.default_rng(1), 1.0))
    tx = make_optimizer(CONFIG, optax.constant_schedule(0.1))
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_array_equal(updates["layers"]["norm"]["scale"], 0)
    np.testing.assert_allclose(updates["embedding"], -0.1 * CONFIG.weight_decay * params["embedding"], rtol=1e-6)
