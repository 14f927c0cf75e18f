"""A device that computes or keeps something else than it should is named; one that does not is left alone."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding

from maxlm.blocks.format import to_batch
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import batch_sharding
from maxlm.train.config import Config, OptimizerConfig, ScheduleConfig, TrainSettings
from maxlm.train.corruption import Probe, device_sums
from maxlm.train.optimizer import make_optimizer, optimizer_for
from maxlm.train.schedules import make_schedule
from maxlm.train.state import TrainState, init_state
from maxlm.train.step import make_train_step
from maxlm.train.trainable import trained
from tests import tiny
from tests.synthetic import make_pairs

RATE = make_schedule(1e-2, ScheduleConfig(name="constant", warmup_share=0.0), 10)
SIZES = {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.fixture(scope="module")
def case():
    """Mesh, a state, a batch and a probe."""
    mesh, model, tx = tiny.mesh(**SIZES), DecoderFunction(tiny.model()), make_optimizer(OptimizerConfig(), RATE)
    with jax.set_mesh(mesh):
        batch = jax.device_put(tiny.batch(), batch_sharding(mesh))
        yield mesh, init_state(model, tx, mesh, seed=0), batch, Probe(model, tx, TrainSettings(), mesh)


def _with_flipped_bit(leaf: jax.Array, device: int, bit: int) -> jax.Array:
    """`leaf`, one word of whose part on one device is another one."""
    parts = [shard.data for shard in leaf.addressable_shards]
    flipped = np.array(parts[device])
    flipped.reshape(-1).view(np.uint32)[3] ^= np.uint32(1 << bit)
    parts[device] = jax.device_put(flipped, parts[device].device)
    return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, parts)


def _broken(state: TrainState, device: int, bit: int) -> TrainState:
    up = _with_flipped_bit(state.params["layers"]["mlp"]["up"], device, bit)
    layers = state.params["layers"]
    return state._replace(params={**state.params, "layers": {**layers, "mlp": {**layers["mlp"], "up": up}}})


@functools.cache
def _sums(mesh: Mesh, sharding: NamedSharding):
    return jax.jit(lambda leaf: device_sums([leaf], [sharding], mesh))


def test_sound_devices_are_left_alone(case):
    _, state, batch, probe = case
    assert probe.differences(state, batch) == []


def test_a_batch_that_is_not_finite_is_no_broken_device(case):
    _, state, batch, probe = case
    nan = jax.tree.map(lambda leaf: leaf * np.nan if leaf.dtype == np.float32 else leaf, batch)
    assert probe.differences(state, nan) == []


@pytest.mark.parametrize("loss", ["next_token", "dpo"])
def test_figures_are_those_of_the_step(loss):
    """With adapters on some matrices, so that the norm is of a part of the gradient; of DPO the second step."""
    mesh, model, settings = tiny.one_device(), DecoderFunction(tiny.model()), TrainSettings(loss=loss)
    optimizer = OptimizerConfig(lora_rank=2, lora_on=("query",))
    tx = optimizer_for(Config(model=tiny.model(), optimizer=optimizer, train=settings), RATE)
    batch = (
        to_batch(make_pairs(np.random.default_rng(0), 4, tiny.SEQ_LEN + 1, tiny.VOCAB))
        if loss == "dpo"
        else tiny.batch()
    )
    with jax.set_mesh(mesh):
        state = init_state(model, tx, mesh, seed=0)
        step = make_train_step(model, tx, RATE, settings, mesh, num_domains=2)
        state, _ = step(state, batch, NO_LIMITS)
        found = Probe(model, tx, settings, mesh, trained(optimizer)).figures(state.params, batch, state.opt_state)
        _, metrics = step(state, batch, NO_LIMITS)
    assert found == pytest.approx((float(metrics["loss"]), float(metrics["grad_norm"])), rel=1e-5)


@pytest.mark.parametrize("bit", [0, 12, 31])
def test_a_copy_that_differs_is_named(case, bit):
    """Over data=2 each part has two copies: which of them is wrong can't be told, so both are named."""
    mesh, state, batch, probe = case
    words = probe.differences(_broken(state, 5, bit), batch)
    names = [str(device) for device in mesh.devices.flat]
    assert [word for word in words if "copies" in word] == [
        f"params['layers']['mlp']['up'] on {names[at]} (process 0) is not what its copies are" for at in (1, 5)
    ]


def test_of_many_copies_the_odd_one_is_named():
    """An adapter lies on all devices, each of which moves its own part of the matrix by its own copy of it."""
    mesh, model, optimizer = tiny.mesh(fsdp=8), DecoderFunction(tiny.model()), OptimizerConfig(lora_rank=2)
    tx = make_optimizer(optimizer, RATE)
    with jax.set_mesh(mesh):
        batch = jax.device_put(tiny.batch(), batch_sharding(mesh))
        state, probe = init_state(model, tx, mesh, seed=0), Probe(model, tx, TrainSettings(), mesh, trained(optimizer))
        adapters = jax.tree.map(lambda leaf: leaf, state.opt_state.a)
        adapters["layers"]["mlp"]["up"] = _with_flipped_bit(adapters["layers"]["mlp"]["up"], 5, 3)
        words = probe.differences(state._replace(opt_state=state.opt_state._replace(a=adapters)), batch)
    assert words == [
        f"opt_state.a['layers']['mlp']['up'] on {mesh.devices.flat[5]} (process 0) is not what its copies are"
    ]


def test_a_gradient_that_comes_out_otherwise_is_named(case, monkeypatch):
    """What a device with a loose bit does: of three goes at the same gradient, one differs."""
    mesh, state, batch, probe = case
    first = jax.device_get(probe._probe(state.params, batch, None))
    sums = np.array(first.gradient_sums)
    sums[6, 2] ^= 1 << 20
    goes = iter([first, first._replace(gradient_sums=sums), first])
    monkeypatch.setattr(probe, "_probe", lambda *_: next(goes))
    (word,) = probe.differences(state, batch)
    name = str(mesh.devices.flat[6])
    assert f"on {name} (process 0) came out twice differently, and a third time differently" in word


@given(st.integers(0, 7), st.integers(0, 31))
def test_any_flipped_bit_changes_the_sum_of_its_device_alone(case, device, bit):
    mesh, state, _, _ = case
    leaf = state.params["layers"]["mlp"]["up"]
    found, whole = (np.asarray(_sums(mesh, x.sharding)(x)) for x in (_with_flipped_bit(leaf, device, bit), leaf))
    assert np.argwhere(found != whole).tolist() == [[device, 0]]
