"""The table from logical axes to mesh axes."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, PartitionSpec

from maxlm.parallel.axes import MESH_AXES, RULES, constrain, platform, spec
from tests import tiny


def test_rules_name_mesh_axes_only():
    assert {axis for axes in RULES.values() for axis in axes} == set(MESH_AXES)


def test_spec_keeps_the_order_of_dimensions():
    assert spec("embed", "heads", "head_dim") == PartitionSpec(("fsdp", "context"), "tensor", None)
    assert spec("batch", "seq", "act_embed") == PartitionSpec(("data", "fsdp", "stage"), "context", None)
    assert spec() == PartitionSpec()


def test_unknown_name():
    with pytest.raises(
        ValueError, match=r"'head' stands in no rule of maxlm/parallel/axes\.py; did you mean 'heads'\?"
    ):
        spec("embed", "head")


@pytest.mark.parametrize("names", [("batch", "embed"), ("heads", "mlp"), ("vocab", "vocab")])
def test_two_dimensions_on_one_mesh_axis(names):
    with pytest.raises(ValueError, match=rf"\('{names[0]}', '{names[1]}'\) would use a mesh axis twice"):
        spec(*names)


def test_constrain_without_a_mesh_leaves_alone():
    x = jnp.ones((2, 2))
    assert constrain(x, "batch", "embed") is x  # not even looked at: single-device code needs no table


def test_constrain_under_a_mesh_splits():
    mesh = tiny.mesh(2, 2, 2)
    with jax.set_mesh(mesh):
        out = jax.jit(lambda x: constrain(x * 1, "batch", "seq", "act_mlp"))(jnp.ones((8, 3, 4)))
    assert {shard.data.shape for shard in out.addressable_shards} == {(2, 3, 2)}


def test_platform_is_that_of_the_mesh():
    """Of devices that are only described; without a mesh, jax's own."""
    for name, expected in (("tpu", "tpu"), ("gpu", "gpu"), ("cuda", "gpu")):
        described = AbstractMesh((1,), ("data",), abstract_device=AbstractDevice("any", None, name))
        with jax.sharding.use_abstract_mesh(described):
            assert platform() == expected
    assert platform() == "cpu"
