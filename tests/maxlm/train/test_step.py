"""The compiled update: equal on every mesh, its metrics add up, and its numbers do not change unnoticed."""

import functools

import jax
import numpy as np
import optax
import pytest

from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS, Limits
from maxlm.parallel.mesh import batch_sharding
from maxlm.train.config import OptimizerConfig, ScheduleConfig, TrainSettings
from maxlm.train.optimizer import make_optimizer
from maxlm.train.schedules import make_schedule
from maxlm.train.state import init_state, state_shardings
from maxlm.train.step import make_eval_step, make_train_step
from tests import tiny

STEPS = 20
# Steps that are the gradient itself, which the optimizer keeps as its trace: with Adam's, which are signs at first, a
# rounding where a gradient is near zero would grow into a difference that no mesh is to blame for.
PLAIN = OptimizerConfig(name="sgd", b1=0.0, weight_decay=0.0, clip_norm=0.0)
MESHES = {
    "one device": {},
    "data=8": {"data": 8},
    "fsdp=8": {"fsdp": 8},
    "tensor=2": {"tensor": 2},
    "data=2 fsdp=2 tensor=2": {"data": 2, "fsdp": 2, "tensor": 2},
    "context=4": {"context": 4},
    "fsdp=2 context=4": {"fsdp": 2, "context": 4},
    "stage=2": {"stage": 2},
    "stage=2 fsdp=4": {"stage": 2, "fsdp": 4},
    "stage=2 tensor=2": {"stage": 2, "tensor": 2},
    "stage=2 context=2 fsdp=2": {"stage": 2, "context": 2, "fsdp": 2},
}
SETTINGS = TrainSettings(z_loss=1e-4, loss_chunks=2)
# Losses of the first three steps on one device. They depend on the initial parameters, the model, the loss, the
# optimizer and the schedule.
GOLDEN = [4.84599, 4.85821, 4.82701]


@functools.cache
def _run(name: str, optimizer: OptimizerConfig = OptimizerConfig(), peak: float = 3e-3):  # noqa: B008 - frozen
    """Of each step on this mesh its metrics and, with PLAIN, its gradient; and the state at the end."""
    mesh, model = tiny.mesh(**MESHES[name]), DecoderFunction(tiny.model())
    schedule = make_schedule(peak, ScheduleConfig(name="wsd", warmup_share=0.1), STEPS)
    tx = make_optimizer(optimizer, schedule)
    with jax.set_mesh(mesh):
        state = init_state(model, tx, mesh, seed=0)
        step = make_train_step(model, tx, schedule, SETTINGS, mesh, num_domains=2)
        metrics = []
        for index in range(STEPS):
            state, values = step(state, jax.device_put(tiny.batch(seed=index), batch_sharding(mesh)), NO_LIMITS)
            metrics.append(jax.device_get(values))
            if optimizer == PLAIN and index < 10:
                metrics[-1]["gradient"] = jax.device_get(optax.tree.get(state.opt_state, "trace"))
    return metrics, state


def _plain(name: str):
    return _run(name, PLAIN, 0.5)


@pytest.mark.parametrize("name", list(MESHES)[1:])
def test_meshes_agree(name):
    """Losses over 20 steps and each gradient of the first 10, to 1e-4."""
    found, expected = _plain(name)[0], _plain("one device")[0]
    losses = np.array([[float(m["loss"]) for m in run] for run in (found, expected)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0, -1] < losses[0, 0] - 0.3  # and it learns
    for ours, theirs in zip(found[:10], expected[:10], strict=True):
        leaves = zip(jax.tree.leaves_with_path(ours["gradient"]), jax.tree.leaves(theirs["gradient"]), strict=True)
        for (path, a), b in leaves:
            assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b), jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", ["data=2 fsdp=2 tensor=2", "stage=2 context=2 fsdp=2"])
def test_meshes_agree_with_adam(name):
    losses, expected = ([float(m["loss"]) for m in _run(mesh)[0]] for mesh in (name, "one device"))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    norms, expected = ([float(m["grad_norm"]) for m in _run(mesh)[0]] for mesh in (name, "one device"))
    np.testing.assert_allclose(norms, expected, rtol=1e-3)
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("name", MESHES)
def test_the_state_stays_split_as_planned(name):
    mesh, (_, state) = tiny.mesh(**MESHES[name]), _plain(name)
    model = DecoderFunction(tiny.model())
    tx = make_optimizer(PLAIN, make_schedule(0.5, ScheduleConfig(), STEPS))
    planned = state_shardings(model, tx, mesh)
    for (path, leaf), sharding in zip(jax.tree.leaves_with_path(state), jax.tree.leaves(planned), strict=True):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim), jax.tree_util.keystr(path)
    assert int(state.step) == STEPS


def test_fresh_states_are_equal_on_every_mesh():
    model = DecoderFunction(tiny.model())
    tx = make_optimizer(OptimizerConfig(), lambda _: 1e-3)
    states = [init_state(model, tx, tiny.mesh(**sizes), seed=0) for sizes in MESHES.values()]
    for state in states[1:]:
        tiny.assert_equal(state, states[0])


def test_golden_losses():
    losses = [float(m["loss"]) for m in _run("one device")[0][: len(GOLDEN)]]
    assert losses == pytest.approx(GOLDEN, abs=5e-5), (
        "The numbers of training have changed. If that was meant (another initialisation, model, loss, optimizer or "
        f"schedule), say so in the commit message and set GOLDEN to {[round(x, 5) for x in losses]}. If it was not, "
        "the last change broke something: a refactoring leaves these losses as they are."
    )


@pytest.mark.parametrize("name", ["one device", "data=2 fsdp=2 tensor=2"])
def test_domains_add_up_to_the_loss(name):
    for index, metrics in enumerate(_run(name)[0]):
        batch = tiny.batch(seed=index)
        tokens = [batch.weights[batch.domains == d].sum() for d in range(2)]
        np.testing.assert_array_equal(metrics["domain_tokens"], tokens)
        mean = metrics["domain_nll"].sum() / sum(tokens)
        # What is left is the z-loss: 1e-4 log²Z, and log Z is near log(vocab) here.
        assert 0 < float(metrics["loss"]) - mean < 1e-4 * 8**2


def test_metrics_tell_the_rate_that_was_used():
    metrics, _ = _run("one device")
    schedule = make_schedule(3e-3, ScheduleConfig(name="wsd", warmup_share=0.1), STEPS)
    rates = [float(m["learning_rate"]) for m in metrics]
    np.testing.assert_allclose(rates, [float(schedule(step)) for step in range(STEPS)], rtol=1e-6)


def test_evaluation_equals_the_training_loss():
    """The forward pass alone, on fresh parameters: domain by domain what the first training step reports."""
    mesh, model = tiny.mesh(2, 2, 2), DecoderFunction(tiny.model())
    tx = make_optimizer(OptimizerConfig(), lambda _: 1e-3)
    batch = tiny.batch(seed=0)
    with jax.set_mesh(mesh):
        params = init_state(model, tx, mesh, seed=0).params
        nll_BT = make_eval_step(model, mesh, SETTINGS)(params, jax.device_put(batch, batch_sharding(mesh)))
    assert nll_BT.shape == batch.targets.shape
    found = [(np.asarray(nll_BT) * batch.weights)[batch.domains == d].sum() for d in range(2)]
    np.testing.assert_allclose(found, _run("one device")[0][0]["domain_nll"], rtol=1e-5)


def _step(mesh, settings: TrainSettings, batch, broken: bool = False, limits: Limits = NO_LIMITS):
    """State and metrics after one update."""
    model, schedule = DecoderFunction(tiny.model()), make_schedule(3e-3, ScheduleConfig(name="constant"), STEPS)
    tx = make_optimizer(OptimizerConfig(), schedule)
    with jax.set_mesh(mesh):
        state = init_state(model, tx, mesh, seed=0)
        if broken:
            state.params["layers"]["mlp"]["up"] = state.params["layers"]["mlp"]["up"].at[0, 0, 0].set(np.nan)
            state = jax.device_put(state, state_shardings(model, tx, mesh))
        before = jax.device_get(state)
        step = make_train_step(model, tx, schedule, settings, mesh, num_domains=2)
        state, metrics = step(state, jax.device_put(batch, batch_sharding(mesh)), limits)
    return before, state, jax.device_get(metrics)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 1)])
def test_parts_of_a_batch_add_up(sizes):
    """Rows of unequal weight, worked off in two parts: the same update, loss and per-domain sums."""
    batch = tiny.batch(seed=3)
    batch.weights[1:5] = 0.0
    _, expected, whole = _step(tiny.one_device(), TrainSettings(z_loss=1e-4), batch)
    _, found, parts = _step(tiny.mesh(*sizes), TrainSettings(z_loss=1e-4, accumulate=2), batch)
    for name in ("loss", "grad_norm", "domain_nll", "domain_tokens"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5, err_msg=name)
    for (path, a), b in zip(jax.tree.leaves_with_path(found.params), jax.tree.leaves(expected.params), strict=True):
        # Adam's first step is a sign: where a gradient is near zero, rounding may turn it.
        turned = np.mean(np.abs(np.asarray(a) - np.asarray(b)) > 1e-4)
        assert turned < 0.01, jax.tree_util.keystr(path)


def test_an_update_that_is_not_finite_is_not_applied():
    before, state, metrics = _step(tiny.mesh(2, 2, 2), TrainSettings(), tiny.batch(), broken=True)
    assert metrics["skipped"] == 1
    assert not np.isfinite(metrics["loss"])
    tiny.assert_equal(state.params, before.params)
    tiny.assert_equal(state.opt_state, before.opt_state)
    assert int(state.step) == 1
    assert _run("one device")[0][0]["skipped"] == 0


@pytest.mark.parametrize("limits", [Limits(loss=4.0), Limits(grad_norm=1e-3), Limits(4.0, 1e-3)])
def test_an_update_beyond_a_limit_is_not_applied(limits):
    before, state, metrics = _step(tiny.mesh(2, 2, 2), TrainSettings(), tiny.batch(), limits=limits)
    assert metrics["skipped"] == 1
    assert 4.0 < metrics["loss"] < 6.0
    assert 1e-3 < metrics["grad_norm"]
    tiny.assert_equal((state.params, state.opt_state), (before.params, before.opt_state))
    assert int(state.step) == 1


def test_limits_that_are_kept_change_nothing():
    _, free, _ = _step(tiny.one_device(), TrainSettings(), tiny.batch())
    _, state, metrics = _step(tiny.one_device(), TrainSettings(), tiny.batch(), limits=Limits(6.0, 1e6))
    assert metrics["skipped"] == 0
    tiny.assert_equal(state, free)
