"""Mesh sizes: what fits, and errors in words for what doesn't."""

import re

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maxlm.errors import ConfigError
from maxlm.parallel.axes import MESH_AXES
from maxlm.parallel.mesh import MeshConfig, batch_sharding, make_mesh, mesh_shape, replicated
from maxlm.train.config import Config, TrainSettings, check_divides
from tests import tiny


@given(*[st.integers(1, 6)] * 3, st.sampled_from([*MESH_AXES, None]))
def test_sizes_multiply_to_the_devices(data, fsdp, tensor, rest):
    sizes = {"data": data, "fsdp": fsdp, "tensor": tensor}
    asked = sizes | ({rest: -1} if rest else {})
    assert mesh_shape(MeshConfig(**asked), data * fsdp * tensor) == (1, data, fsdp, 1, tensor)


@given(*[st.integers(1, 6)] * 3, st.integers(1, 64))
def test_sizes_that_do_not_fit_are_refused(data, fsdp, tensor, devices):
    assume(data * fsdp * tensor != devices)
    message = re.escape(f"data={data} × fsdp={fsdp} × context=1 × tensor={tensor} does not fit {devices} devices")
    with pytest.raises(ConfigError, match=message):
        mesh_shape(MeshConfig(data=data, fsdp=fsdp, tensor=tensor), devices)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            MeshConfig(data=3, fsdp=-1),
            r"config\.mesh: stage=1 × data=3 × fsdp=-1 × .* does not fit 8 devices; set one",
        ),
        (MeshConfig(data=-1, fsdp=-1), r"data=-1 × fsdp=-1 .*positive, and one of those without dcn_ may be -1"),
        (MeshConfig(data=0), r"config\.mesh: stage=1 × data=0 × .*sizes are positive"),
        (MeshConfig(tensor=-2), r"config\.mesh: .*tensor=-2: sizes are positive"),
    ],
)
def test_errors_name_the_sizes(config, message):
    with pytest.raises(ConfigError, match=message):
        make_mesh(config)


def test_a_mesh_takes_all_devices_and_splits_the_batch():
    mesh = make_mesh(MeshConfig(data=2, fsdp=-1, tensor=2))
    assert dict(mesh.shape) == {"stage": 1, "data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    assert set(mesh.devices.flat) == set(jax.devices())
    rows = jax.device_put(jax.numpy.zeros((8, 3)), batch_sharding(mesh))
    assert {shard.data.shape for shard in rows.addressable_shards} == {(2, 3)}
    assert replicated(mesh).is_fully_replicated


def test_slices_lie_along_the_axes_that_the_slow_network_joins():
    """Eight host devices as two slices of four: tensor and fsdp stay within a slice, data goes between them."""
    mesh = make_mesh(MeshConfig(fsdp=2, tensor=2, dcn_data=2))
    assert dict(mesh.shape) == {"stage": 1, "data": 2, "fsdp": 2, "context": 1, "tensor": 2}
    ids = np.vectorize(lambda device: device.id)(mesh.devices)[0, :, :, 0, :]
    assert set(ids[0].flat) == {0, 1, 2, 3}
    assert set(ids[1].flat) == {4, 5, 6, 7}
    both = make_mesh(MeshConfig(data=2, fsdp=-1, dcn_data=2))  # an axis within slices and between them
    assert dict(both.shape) == {"stage": 1, "data": 4, "fsdp": 2, "context": 1, "tensor": 1}
    ids = np.vectorize(lambda device: device.id)(both.devices)[0, :, :, 0, 0]
    assert set(ids[:2].flat) == {0, 1, 2, 3}
    with pytest.raises(ConfigError, match=r"× dcn_fsdp=3 does not fit 8 devices"):
        make_mesh(MeshConfig(dcn_fsdp=3))


@pytest.mark.parametrize(
    ("changes", "batch", "sizes", "message"),
    [
        ({}, 6, (2, 2, 2), r"config\.train\.batch=6 does not divide by the mesh's data × fsdp × stage=4"),
        ({"num_heads": 3, "num_kv_heads": 1}, 8, (1, 1, 2), r"config\.model\.num_heads=3 .* tensor=2"),
        ({"num_kv_heads": 1}, 8, (1, 1, 2), r"config\.model\.num_kv_heads=1 .* tensor=2"),
        ({"mlp": 65}, 8, (1, 1, 2), r"config\.model\.mlp=65 .* tensor=2"),
        ({"vocab_size": 127}, 8, (1, 1, 2), r"config\.model\.vocab_size=127 .* tensor=2"),
        ({"embed": 36}, 8, (1, 8, 1), r"config\.model\.embed=36 .* fsdp × context=8"),
    ],
)
def test_what_the_mesh_cannot_split_is_named(changes, batch, sizes, message):
    config = Config(model=tiny.model(**changes), train=TrainSettings(batch=batch))
    with pytest.raises(ConfigError, match=message):
        check_divides(config, tiny.mesh(*sizes), {8: config.train.batch})
    check_divides(Config(model=tiny.model()), tiny.mesh(2, 2, 2), {8: 8})


def test_sequences_that_do_not_divide():
    with pytest.raises(ConfigError, match=r"config\.mesh\.context=2: sequences of 10 tokens do not divide into 4"):
        check_divides(Config(model=tiny.model()), tiny.mesh(context=2), {10: 8})
