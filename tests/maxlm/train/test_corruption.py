"""A device that computes or keeps something else than it should is named; one that does not is left alone."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding

from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import batch_sharding
from maxlm.parallel.sharding import param_shardings
from maxlm.train.config import TrainSettings
from maxlm.train.corruption import Probe, device_sums
from maxlm.train.step import batch_loss
from tests import tiny

SIZES = {"data": 2, "fsdp": 2, "tensor": 2}


@pytest.fixture(scope="module")
def case():
    """Mesh, model, parameters, a batch and a probe."""
    mesh, model = tiny.mesh(**SIZES), DecoderFunction(tiny.model())
    with jax.set_mesh(mesh):
        shardings = param_shardings(mesh, model.param_axes())
        params = jax.jit(model.init, out_shardings=shardings)(jax.random.key(0))
        batch = jax.device_put(tiny.batch(), batch_sharding(mesh))
        yield mesh, model, params, batch, Probe(model, TrainSettings(), mesh)


def _with_flipped_bit(leaf: jax.Array, device: int, bit: int) -> jax.Array:
    """`leaf`, one word of whose part on one device is another one."""
    parts = [shard.data for shard in leaf.addressable_shards]
    flipped = np.array(parts[device])
    flipped.reshape(-1).view(np.uint32)[3] ^= np.uint32(1 << bit)
    parts[device] = jax.device_put(flipped, parts[device].device)
    return jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, parts)


def _with_leaf(params: dict, leaf: jax.Array) -> dict:
    return {**params, "layers": {**params["layers"], "mlp": {**params["layers"]["mlp"], "up": leaf}}}


@functools.cache
def _sums(mesh: Mesh, sharding: NamedSharding):
    return jax.jit(lambda leaf: device_sums([leaf], [sharding], mesh))


def test_sound_devices_are_left_alone(case):
    _, _, params, batch, probe = case
    assert probe.differences(params, batch) == []


def test_figures_are_those_of_the_step(case):
    _, model, params, batch, probe = case
    gradient = jax.jit(jax.value_and_grad(lambda p: batch_loss(model, p, batch, TrainSettings()).loss))
    loss, grads = gradient(params)
    norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(grads)))
    assert probe.figures(params, batch) == pytest.approx((float(loss), norm), rel=1e-5)


@pytest.mark.parametrize("bit", [0, 12, 31])
def test_a_copy_that_differs_is_named(case, bit):
    """Over data=2 each part has two copies: which of them is wrong can't be told, so both are named."""
    mesh, _, params, batch, probe = case
    broken = _with_leaf(params, _with_flipped_bit(params["layers"]["mlp"]["up"], 5, bit))
    words = probe.differences(broken, batch)
    names = [str(device) for device in mesh.devices.flat]
    assert [word for word in words if "copies" in word] == [
        f"['layers']['mlp']['up'] on {names[at]} (process 0) is not what its copies are" for at in (1, 5)
    ]


def test_of_many_copies_the_odd_one_is_named():
    mesh, model = tiny.mesh(data=8), DecoderFunction(tiny.model())
    with jax.set_mesh(mesh):
        params = jax.jit(model.init, out_shardings=param_shardings(mesh, model.param_axes()))(jax.random.key(0))
        batch, probe = jax.device_put(tiny.batch(), batch_sharding(mesh)), Probe(model, TrainSettings(), mesh)
        broken = _with_leaf(params, _with_flipped_bit(params["layers"]["mlp"]["up"], 5, 3))
        words = probe.differences(broken, batch)
    assert [word for word in words if "copies" in word] == [
        f"['layers']['mlp']['up'] on {mesh.devices.flat[5]} (process 0) is not what its copies are"
    ]


def test_a_gradient_that_comes_out_otherwise_is_named(case, monkeypatch):
    """What a device with a loose bit does: of three goes at the same gradient, one differs."""
    mesh, _, params, batch, probe = case
    first = jax.device_get(probe._probe(params, batch, None))
    sums = np.array(first.gradient_sums)
    sums[6, 2] ^= 1 << 20
    goes = iter([first, first._replace(gradient_sums=sums), first])
    monkeypatch.setattr(probe, "_probe", lambda *_: next(goes))
    (word,) = probe.differences(params, batch)
    name = str(mesh.devices.flat[6])
    assert f"on {name} (process 0) came out twice differently, and a third time differently" in word


@given(st.integers(0, 7), st.integers(0, 31))
def test_any_flipped_bit_changes_the_sum_of_its_device_alone(case, device, bit):
    mesh, _, params, _, _ = case
    leaf = params["layers"]["mlp"]["up"]
    found, whole = (np.asarray(_sums(mesh, x.sharding)(x)) for x in (_with_flipped_bit(leaf, device, bit), leaf))
    assert np.argwhere(found != whole).tolist() == [[device, 0]]
