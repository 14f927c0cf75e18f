"""The device mesh: from sizes in a config to a named mesh, with errors in words where something does not divide."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from maxlm.errors import ConfigError
from maxlm.parallel.axes import BATCH_AXES, CONTEXT, MESH_AXES


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one size may be -1, "the rest"."""

    stage: int = 1  # layers split between devices, which work on parts of a batch one after the other
    data: int = 1  # copies of the model, each on its part of the batch
    fsdp: int = -1  # parameters and batch split together (ZeRO-3)
    context: int = 1  # sequences split between devices, and parameters as over fsdp; for long contexts
    tensor: int = 1  # heads, mlp and vocabulary split within a layer


def mesh_shape(config: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Sizes along MESH_AXES, the one -1 filled in.

    Raises:
      ConfigError: the sizes do not multiply to `num_devices`.
    """
    sizes = [getattr(config, axis) for axis in MESH_AXES]
    asked = " × ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, sizes, strict=True))
    if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
        raise ConfigError(f"config.mesh: {asked}: sizes are positive, and one of them may be -1")
    fixed = math.prod(size for size in sizes if size != -1)
    if num_devices % fixed or (-1 not in sizes and fixed != num_devices):
        raise ConfigError(f"config.mesh: {asked} does not fit {num_devices} devices; set one size to -1 for the rest")
    return tuple(num_devices // fixed if size == -1 else size for size in sizes)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over `devices` (all by default) with the compiler free to choose inner shardings."""
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(config, len(devices))
    return jax.make_mesh(shape, MESH_AXES, devices=devices, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """How `[batch, seq_len]` arrays are split."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES, CONTEXT))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())
