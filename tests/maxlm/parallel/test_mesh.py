"""Mesh sizes: what fits, and errors in words for what doesn't."""

import re

import jax
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
    assert mesh_shape(MeshConfig(**asked), data * fsdp * tensor) == (data, fsdp, 1, tensor)


@given(*[st.integers(1, 6)] * 3, st.integers(1, 64))
def test_sizes_that_do_not_fit_are_refused(data, fsdp, tensor, devices):
    assume(data * fsdp * tensor != devices)
    message = re.escape(f"data={data} × fsdp={fsdp} × tensor={tensor} does not fit {devices} devices")
    with pytest.raises(ConfigError, match=message):
        mesh_shape(MeshConfig(data=data, fsdp=fsdp, tensor=tensor), devices)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            MeshConfig(data=3, fsdp=-1),
            r"config\.mesh: data=3 × fsdp=-1 × context=1 × tensor=1 does not fit 8 devices; set one",
        ),
        (MeshConfig(data=-1, fsdp=-1), r"config\.mesh: data=-1 × fsdp=-1 .*positive, and one of them may be -1"),
        (MeshConfig(data=0), r"config\.mesh: data=0 × .*sizes are positive"),
        (MeshConfig(tensor=-2), r"config\.mesh: .*tensor=-2: sizes are positive"),
    ],
)
def test_errors_name_the_sizes(config, message):
    with pytest.raises(ConfigError, match=message):
        make_mesh(config)


def test_a_mesh_takes_all_devices_and_splits_the_batch():
    mesh = make_mesh(MeshConfig(data=2, fsdp=-1, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert set(mesh.devices.flat) == set(jax.devices())
    rows = jax.device_put(jax.numpy.zeros((8, 3)), batch_sharding(mesh))
    assert {shard.data.shape for shard in rows.addressable_shards} == {(2, 3)}
    assert replicated(mesh).is_fully_replicated


@pytest.mark.parametrize(
    ("changes", "batch", "sizes", "message"),
    [
        ({}, 6, (2, 2, 2), r"config\.train\.batch=6 does not divide by the mesh's data × fsdp=4"),
        ({"num_heads": 3, "num_kv_heads": 1}, 8, (1, 1, 2), r"config\.model\.num_heads=3 .* tensor=2"),
        ({"num_kv_heads": 1}, 8, (1, 1, 2), r"config\.model\.num_kv_heads=1 .* tensor=2"),
        ({"mlp": 65}, 8, (1, 1, 2), r"config\.model\.mlp=65 .* tensor=2"),
        ({"vocab_size": 127}, 8, (1, 1, 2), r"config\.model\.vocab_size=127 .* tensor=2"),
        ({"embed": 36}, 8, (1, 8, 1), r"config\.model\.embed=36 .* fsdp=8"),
    ],
)
def test_what_the_mesh_cannot_split_is_named(changes, batch, sizes, message):
    config = Config(model=tiny.model(**changes), train=TrainSettings(batch=batch))
    with pytest.raises(ConfigError, match=message):
        check_divides(config, tiny.mesh(*sizes), seq_len=8)
    check_divides(Config(model=tiny.model()), tiny.mesh(2, 2, 2), seq_len=8)
