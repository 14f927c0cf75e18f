"""Names of axes: logical ones, by which models describe their tensors, and those of the device mesh.

`RULES` is the one place where the two meet: a model names what a dimension means, this table says how it is split.
"""

import jax
from jax.sharding import PartitionSpec

from maxlm.errors import did_you_mean

STAGE, DATA, FSDP, CONTEXT, TENSOR = "stage", "data", "fsdp", "context", "tensor"
MESH_AXES = (STAGE, DATA, FSDP, CONTEXT, TENSOR)  # the last one's devices are nearest to each other
BATCH_AXES = (DATA, FSDP, STAGE)  # a global batch is split over all three; within the layers stages share their rows

# logical axis -> mesh axes that split it
RULES: dict[str, tuple[str, ...]] = {
    # activations
    "batch": BATCH_AXES,
    "seq": (CONTEXT,),
    "residual_seq": (CONTEXT, TENSOR),  # between the products, where tensor's devices would all hold the same
    "act_embed": (),
    "act_heads": (TENSOR,),
    "act_kv_heads": (TENSOR,),
    "act_mlp": (TENSOR,),
    # parameters
    "layers": (STAGE,),
    "vocab": (TENSOR,),
    "embed": (FSDP, CONTEXT),
    "heads": (TENSOR,),
    "kv_heads": (TENSOR,),
    "head_dim": (),
    "mlp": (TENSOR,),
    "norm": (),
    "positions": (),
    "types": (),
    "labels": (),
}


def spec(*logical: str) -> PartitionSpec:
    """The mesh axes of a tensor whose dimensions have these logical names, but for those taken by a shard_map around.

    Raises:
      ValueError: an unknown name, or two dimensions that would be split over the same mesh axis.
    """
    parts = []
    for name in logical:
        if name not in RULES:
            raise ValueError(
                f"logical axis {name!r} stands in no rule of maxlm/parallel/axes.py{did_you_mean(name, RULES)}"
            )
        parts.append(free(RULES[name]))
    used = [axis for part in parts for axis in part]
    if len(used) != len(set(used)):
        raise ValueError(f"logical axes {logical} would use a mesh axis twice: {parts}")
    return PartitionSpec(*(part or None for part in parts))


def ways(axis: str) -> int:
    """Devices along an axis of the mesh in force; 1 without a mesh."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else mesh.shape[axis]


def platform() -> str:
    """What the mesh in force is made of: "cpu", "gpu" or "tpu"; without one, what jax takes by default."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    name = jax.default_backend() if device is None else device.platform
    return {"cuda": "gpu", "rocm": "gpu"}.get(name, name)


def free(axes: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some mesh axes that no shard_map around has taken."""
    return tuple(axis for axis in axes if axis not in jax.sharding.get_abstract_mesh().manual_axes)


def constrain(x: jax.Array, *logical: str) -> jax.Array:
    """Tells the compiler how `x` is split over the mesh in force (`jax.set_mesh`); without a mesh, nothing.

    A dimension of one, as the sequence where tokens are written one by one, is not split: the compiler would pad it,
    sum up the norms of what each device then has of it, and gather it again for every product.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return x
    parts = (part if size > 1 else None for part, size in zip(spec(*logical), x.shape, strict=True))
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*parts))
