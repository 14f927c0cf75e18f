"""The rules against float64 NumPy, step by step, and what stands around them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxlm.errors import ConfigError
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import batch_sharding
from maxlm.train.config import OptimizerConfig, TrainSettings
from maxlm.train.optimizer import RULES, decays, make_optimizer
from maxlm.train.state import init_state
from maxlm.train.step import make_train_step
from tests import tiny

CONFIG = OptimizerConfig(  # of AdamW
    learning_rate=0.02, b1=0.8, b2=0.9, eps=1e-3, weight_decay=0.3, clip_norm=1.5
)
SHAPES = {"layers": {"norm": {"scale": (2, 5)}, "mlp": {"up": (2, 5, 3)}}, "embedding": (7, 5)}


def _random(rng: np.random.Generator, size: float):
    return jax.tree.map(
        lambda shape: size * rng.normal(size=shape), SHAPES, is_leaf=lambda leaf: isinstance(leaf, tuple)
    )


def _decay_of(path) -> float:
    return 0.0 if "scale" in jax.tree_util.keystr(path) else CONFIG.weight_decay


def _clipped(grads):
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
    return jax.tree.map(lambda g: g * min(1.0, CONFIG.clip_norm / norm), grads)


class _Lion:
    """Chen et al., 2023, algorithm 2."""

    def __init__(self, params):
        self.m = jax.tree.map(np.zeros_like, params)

    def step(self, params, grads, rate):
        grads = _clipped(grads)

        def moved(path, p, m, g):
            return p - rate * (np.sign(CONFIG.b1 * m + (1 - CONFIG.b1) * g) + _decay_of(path) * p)

        params = jax.tree_util.tree_map_with_path(moved, params, self.m, grads)
        self.m = jax.tree.map(lambda m, g: CONFIG.b2 * m + (1 - CONFIG.b2) * g, self.m, grads)
        return params


class _SGD:
    """Nesterov's momentum as in Sutskever et al., 2013, rewritten for the gradient at the parameters themselves."""

    def __init__(self, params):
        self.m = jax.tree.map(np.zeros_like, params)

    def step(self, params, grads, rate):
        grads = jax.tree_util.tree_map_with_path(lambda path, g, p: g + _decay_of(path) * p, _clipped(grads), params)
        self.m = jax.tree.map(lambda m, g: CONFIG.b1 * m + g, self.m, grads)
        return jax.tree.map(lambda p, m, g: p - rate * (g + CONFIG.b1 * m), params, self.m, grads)


class _AdamW:
    """Loshchilov and Hutter, 2019, algorithm 2, after clipping by the global norm."""

    def __init__(self, params):
        self.m = jax.tree.map(np.zeros_like, params)
        self.v = jax.tree.map(np.zeros_like, params)
        self.t = 0

    def step(self, params, grads, rate):
        grads = _clipped(grads)
        self.t += 1
        self.m = jax.tree.map(lambda m, g: CONFIG.b1 * m + (1 - CONFIG.b1) * g, self.m, grads)
        self.v = jax.tree.map(lambda v, g: CONFIG.b2 * v + (1 - CONFIG.b2) * g**2, self.v, grads)

        def moved(path, p, m, v):
            m, v = m / (1 - CONFIG.b1**self.t), v / (1 - CONFIG.b2**self.t)
            return p - rate * (m / (np.sqrt(v) + CONFIG.eps) + _decay_of(path) * p)

        return jax.tree_util.tree_map_with_path(moved, params, self.m, self.v)


@pytest.mark.parametrize(("name", "reference"), [("adamw", _AdamW), ("lion", _Lion), ("sgd", _SGD)])
def test_steps_equal_numpy(name, reference):
    rng = np.random.default_rng(0)
    expected = _random(rng, 1.0)
    params = jax.tree.map(jnp.float32, expected)
    schedule = optax.linear_schedule(CONFIG.learning_rate, 0.0, 10)
    tx = make_optimizer(dataclasses.replace(CONFIG, name=name), schedule)
    state, reference = tx.init(params), reference(expected)
    update = jax.jit(tx.update)
    for step, size in enumerate([3.0, 0.01, 1.0, 30.0, 0.001, 0.2]):  # some are clipped, others are not
        grads = _random(rng, size)
        updates, state = update(jax.tree.map(jnp.float32, grads), state, params)
        params = optax.apply_updates(params, updates)
        expected = reference.step(expected, grads, rate=CONFIG.learning_rate * (1 - step / 10))
        jax.tree.map(lambda p, e: np.testing.assert_allclose(p, e, atol=3e-6), params, expected)


def test_norms_do_not_decay_and_everything_else_does():
    config = tiny.model(tie_embeddings=False, norm="layer", bias="all", position="learned", max_positions=9)
    params = DecoderFunction(config).abstract_params()
    for path, decaying in jax.tree.leaves_with_path(decays(params)):
        name = jax.tree_util.keystr(path)
        assert decaying is not any(part in name for part in ("norm", "bias")), name
    assert sum(jax.tree.leaves(decays(params))) == 10  # seven of a layer, three tables
    assert sum(jax.tree.leaves(decays(params, tables=False))) == 7


def test_without_gradients_only_decay_moves():
    params = jax.tree.map(jnp.float32, _random(np.random.default_rng(1), 1.0))
    tx = make_optimizer(CONFIG, optax.constant_schedule(0.1))
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    np.testing.assert_array_equal(updates["layers"]["norm"]["scale"], 0)
    np.testing.assert_allclose(updates["embedding"], -0.1 * CONFIG.weight_decay * params["embedding"], rtol=1e-6)


def _one_update(config: OptimizerConfig, params, grads, width_multiplier: float = 1.0):
    tx = make_optimizer(config, optax.constant_schedule(config.learning_rate), width_multiplier)
    return tx.update(grads, tx.init(params), params)


def _model_like(seed: int):
    """Random values in the shapes of a small decoder's parameters."""
    rng = np.random.default_rng(seed)
    params = DecoderFunction(tiny.model()).abstract_params()
    return jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape)), params)


def _orthogonalised(matrix: np.ndarray) -> np.ndarray:
    """Five Newton-Schulz steps with Jordan's coefficients (2024, "Muon"), float64."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x - (4.775 * square - 2.0315 * square @ square) @ x
    return x


def test_muon_orthogonalises_the_matrices_of_each_layer():
    """With steps of 0.2 sqrt(max(fan_in, fan_out)) (Liu et al., 2025, equation 4). Tables take Nesterov's Adam."""
    config = OptimizerConfig(name="muon", learning_rate=1.0, weight_decay=0.0, clip_norm=0.0)
    params, grads, D = _model_like(0), _model_like(1), 32
    updates, _ = _one_update(config, params, grads)
    layer = updates["layers"]
    for part, name in (("attention", "query"), ("attention", "out"), ("mlp", "up"), ("mlp", "down")):
        for update, grad in zip(layer[part][name], grads["layers"][part][name], strict=True):
            matrix = np.float64(grad).reshape((-1, D) if name in ("out", "down") else (D, -1))
            expected = -0.2 * np.sqrt(max(matrix.shape)) * _orthogonalised(matrix)
            np.testing.assert_allclose(np.reshape(update, matrix.shape), expected, atol=2e-3, err_msg=name)
    first = 1 + config.b1 / (1 + config.b1)  # its first step is a sign, lengthened by what the next one would add
    np.testing.assert_allclose(np.abs(updates["embedding"]), first, rtol=1e-4)
    np.testing.assert_allclose(np.abs(layer["mlp_norm"]["scale"]), first, rtol=1e-4)


def test_adafactor_keeps_rows_and_columns():
    """Its first update is the gradient over the geometry of its rows and columns; the state is far smaller."""
    rng = np.random.default_rng(2)
    params, grads = ({"mlp": {"up": jnp.float32(rng.normal(size=(2, 160, 144)))}} for _ in range(2))
    config = OptimizerConfig(name="adafactor", learning_rate=1.0, weight_decay=0.0, clip_norm=0.0)
    updates, state = _one_update(config, params, grads)
    g = np.float64(grads["mlp"]["up"])
    row, column = (g**2).mean(axis=2, keepdims=True), (g**2).mean(axis=1, keepdims=True)
    expected = -g / np.sqrt(row * column / row.mean(axis=1, keepdims=True))
    expected /= max(1.0, np.sqrt((expected**2).mean()))
    np.testing.assert_allclose(updates["mlp"]["up"], expected, rtol=1e-3)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 0.02 * g.size


def test_the_average_follows_the_parameters():
    config = OptimizerConfig(name="sgd", learning_rate=0.1, weight_decay=0.0, ema_decay=0.75)
    tx = make_optimizer(config, optax.constant_schedule(0.1))
    params = {"mlp": {"up": jnp.ones((2, 3))}}
    state, expected = tx.init(params), np.ones((2, 3))
    for seed in range(4):
        grads = {"mlp": {"up": jnp.float32(np.random.default_rng(seed).normal(size=(2, 3)))}}
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        expected = 0.75 * expected + 0.25 * np.asarray(params["mlp"]["up"])
    np.testing.assert_allclose(optax.tree.get(state, "average")["mlp"]["up"], expected, rtol=1e-6)


def test_wider_models_take_smaller_steps_in_their_layers():
    config = OptimizerConfig(weight_decay=0.0, clip_norm=0.0)
    params, grads = _model_like(0), _model_like(1)
    usual, _ = _one_update(config, params, grads)
    wide, _ = _one_update(config, params, grads, width_multiplier=4.0)
    for (path, a), b in zip(jax.tree.leaves_with_path(usual), jax.tree.leaves(wide), strict=True):
        name = jax.tree_util.keystr(path)
        hidden = any(part in name for part in ("attention'", "mlp'"))
        np.testing.assert_allclose(b, a / 4 if hidden else a, rtol=1e-6, err_msg=name)
    with pytest.raises(ConfigError, match=r"transfer over widths .* with adamw, lion, adafactor alone"):
        make_optimizer(dataclasses.replace(config, name="sgd"), optax.constant_schedule(0.1), 2.0)


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_lowers_the_loss_and_agrees_on_a_mesh(name):
    rates = {"adamw": 3e-3, "muon": 3e-3, "lion": 1e-3, "adafactor": 3e-3, "sgd": 0.3}
    schedule = optax.constant_schedule(rates[name])
    tx = make_optimizer(OptimizerConfig(name=name, ema_decay=0.9), schedule)
    model, losses = DecoderFunction(tiny.model()), {}
    for sizes in ((1, 1, 1), (2, 2, 2)):
        mesh = tiny.mesh(*sizes)
        with jax.set_mesh(mesh):
            state = init_state(model, tx, mesh, seed=0)
            step = make_train_step(model, tx, schedule, TrainSettings(), mesh, num_domains=2)
            losses[sizes] = []
            for _ in range(6):  # the same rows again and again
                state, metrics = step(state, jax.device_put(tiny.batch(seed=0), batch_sharding(mesh)), NO_LIMITS)
                losses[sizes].append(float(metrics["loss"]))
    first, split = losses.values()
    np.testing.assert_allclose(split, first, atol=1e-4)
    assert first[-1] < first[0] - 0.1
