"""What is frozen stays bit for bit, and adapters are trained as Hu et al. write it down."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxlm.errors import ConfigError
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import batch_sharding
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.config import OptimizerConfig, TrainSettings
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import abstract_state, init_state
from maxlm.train.step import batch_loss, make_train_step
from maxlm.train.trainable import check_names, name_of, trained
from tests import tiny

MODEL, STEPS, RATE = DecoderFunction(tiny.model()), 3, 1e-2


@functools.cache
def run(fsdp=1, **optimizer):
    """The state before and after some steps, on the host."""
    mesh, settings = tiny.mesh(fsdp=fsdp), TrainSettings(log_norms=True, log_every=1)
    tx = make_optimizer(OptimizerConfig(**optimizer), lambda _: RATE)
    with jax.set_mesh(mesh):
        state = init_state(MODEL, tx, mesh, seed=0)
        before = jax.device_get(state)
        step = make_train_step(MODEL, tx, lambda _: RATE, settings, mesh, num_domains=2)
        for seed in range(STEPS):
            state, metrics = step(state, jax.device_put(tiny.batch(seed), batch_sharding(mesh)), NO_LIMITS)
    return before, jax.device_get(state), jax.device_get(metrics)


def named(tree):
    return {name_of(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_frozen_parameters_stay_and_have_no_moments(name):
    patterns = ("embedding", "output", "layers.mlp.*", "*norm.scale")
    before, after, metrics = run(name=name, freeze=patterns)
    names = [key for key, leaf in named(before.params).items() if not np.array_equal(leaf, named(after.params)[key])]
    assert sorted(names) == [f"layers.attention.{name}" for name in ("key", "out", "query", "value")]
    sizes = {leaf.shape for leaf in jax.tree.leaves(after.opt_state) if leaf.ndim > 1}
    assert sizes == {named(before.params)[name].shape for name in names}
    assert float(metrics["grad_norm"]) > 0
    assert metrics["norms"]


def lora(**changes):
    return {"lora_rank": 2, "lora_alpha": 6.0, "lora_on": ("query", "out", "down"), "clip_norm": 0.5} | changes


def test_adapters_are_trained_as_the_paper_has_it():
    """The same A and B by autodiff through W + alpha/rank · A·B, clipped and decayed as optax does."""
    before, after, _ = run(**lora())
    start, scale = before.opt_state, 3.0
    chain = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(RATE, 0.9, 0.95, 1e-8, weight_decay=0.1))
    adapters = {"a": start.a, "b": start.b}
    assert not any(leaf.any() for leaf in jax.tree.leaves(start.b))

    def merged(adapters):
        def one(path, leaf, a, b):
            if isinstance(a, optax.MaskedNode):
                return leaf
            inner = (1,) if path[-1].key != "out" else (1, 2)
            width = int(np.prod([leaf.shape[i] for i in inner]))
            assert a.shape == (leaf.shape[0], width, 2)
            return leaf + scale * jnp.matmul(a, b).reshape(leaf.shape)

        masked = lambda leaf: isinstance(leaf, optax.MaskedNode)  # noqa: E731
        places = jax.tree.map(lambda a, path_leaf: path_leaf, adapters["a"], before.params, is_leaf=masked)
        return jax.tree_util.tree_map_with_path(one, places, adapters["a"], adapters["b"])

    with jax.set_mesh(tiny.one_device()):
        state = chain.init(adapters)
        gradient = jax.jit(
            jax.grad(lambda adapters, batch: batch_loss(MODEL, merged(adapters), batch, TrainSettings()).loss)
        )
        for seed in range(STEPS):
            updates, state = chain.update(gradient(adapters, tiny.batch(seed)), state, adapters)
            adapters = optax.apply_updates(adapters, updates)
        expected = jax.device_get(merged(adapters))
    for ours, theirs in zip(jax.tree.leaves((after.opt_state.a, after.opt_state.b)),
                            jax.tree.leaves((adapters["a"], adapters["b"])), strict=True):  # fmt: skip
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-6)
    for name, leaf in named(after.params).items():
        if name.split(".")[-1] in ("query", "out", "down"):
            assert not np.array_equal(leaf, named(before.params)[name])
            np.testing.assert_allclose(leaf, named(expected)[name], rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(leaf, named(before.params)[name])


def test_adapters_beside_all_matrices_go_through_a_checkpoint(tmp_path):
    """What is masked in the optimizer's state comes back too, on another mesh."""
    tx = make_optimizer(OptimizerConfig(lora_rank=1), lambda _: RATE)
    with jax.set_mesh(tiny.one_device()):
        state = init_state(MODEL, tx, tiny.one_device(), seed=0)
        assert len(jax.tree.leaves(state.opt_state.a)) == 7
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(state, Meta(Position(), {}, tiny.VOCAB))
        checkpoints.wait()
    mesh = tiny.mesh(fsdp=2)
    with jax.set_mesh(mesh):
        tiny.assert_equal(checkpoints.restore(0, abstract_state(MODEL, tx, mesh)), state)
    checkpoints.close()


def test_adapters_on_a_mesh():
    for ours, theirs in zip(jax.tree.leaves(run(fsdp=8, **lora())[1]), jax.tree.leaves(run(**lora())[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"freeze": ("layers.mpl.*",)}, r"optimizer.freeze: 'layers.mpl.\*' fits no parameter; there are embedding"),
        ({"freeze": ("*",)}, "nothing is left to train"),
        ({"lora_rank": 2, "lora_on": ("q_proj",)}, "config.optimizer.lora_on: 'q_proj' is no matrix of the layers"),
        ({"lora_rank": 2, "lora_on": ("query",), "freeze": ("*.query",)}, "nothing is left to train"),
    ],
)  # fmt: skip
def test_names_that_fit_nothing(config, message):
    with pytest.raises(ConfigError, match=message):
        check_names(OptimizerConfig(**config), MODEL.abstract_params())


@pytest.mark.parametrize(
    "config",
    [{"lora_rank": -1}, {"lora_rank": 2, "lora_alpha": 0.0}, {"lora_rank": 2, "name": "muon"},
     {"freeze": ("embedding",), "ema_decay": 0.9}],
)  # fmt: skip
def test_settings_that_can_not_be(config):
    with pytest.raises(ConfigError, match=r"config.optimizer"):
        OptimizerConfig(**config)


def test_all_are_trained_where_nothing_is_said():
    assert trained(OptimizerConfig()) is None
