"""The device mesh: from sizes in a config to a named mesh, with errors in words where something does not divide."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from maxlm.errors import ConfigError
from maxlm.parallel.axes import BATCH_AXES, CONTEXT, MESH_AXES


@dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; one size may be -1, "the rest".

    The sizes are those within a slice (devices with a fast network between them). With several slices, dcn_ sizes say
    what is split between them over the slow network; an axis then has dcn_size × size devices.
    """

    stage: int = 1  # layers split between devices, which work on parts of a batch one after the other
    data: int = 1  # copies of the model, each on its part of the batch
    fsdp: int = -1  # parameters and batch split together (ZeRO-3)
    context: int = 1  # sequences split between devices, and parameters as over fsdp; for long contexts
    tensor: int = 1  # heads, mlp and vocabulary split within a layer
    dcn_stage: int = 1
    dcn_data: int = 1
    dcn_fsdp: int = 1


def mesh_shape(config: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Sizes along MESH_AXES within a slice, the one -1 filled in.

    Raises:
      ConfigError: the sizes do not multiply to `num_devices`.
    """
    sizes, between = [getattr(config, axis) for axis in MESH_AXES], _between(config)
    asked = " × ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, sizes, strict=True))
    if math.prod(between) != 1:
        asked += "".join(f" × dcn_{axis}={n}" for axis, n in zip(MESH_AXES, between, strict=True) if n != 1)
    if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1 or min(between) < 1:
        raise ConfigError(f"config.mesh: {asked}: sizes are positive, and one of those without dcn_ may be -1")
    fixed = math.prod(size for size in sizes if size != -1) * math.prod(between)
    if num_devices % fixed or (-1 not in sizes and fixed != num_devices):
        raise ConfigError(f"config.mesh: {asked} does not fit {num_devices} devices; set one size to -1 for the rest")
    return tuple(num_devices // fixed if size == -1 else size for size in sizes)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over `devices` (all by default) with the compiler free to choose inner shardings."""
    devices = jax.devices() if devices is None else devices
    shape, types = mesh_shape(config, len(devices)), (AxisType.Auto,) * len(MESH_AXES)
    if math.prod(_between(config)) == 1:
        return jax.make_mesh(shape, MESH_AXES, devices=devices, axis_types=types)
    slices = [mesh_utils.create_device_mesh(shape, members) for members in _slices(config, devices)]
    # Slices are laid out by the dcn_ sizes, and each axis runs through a slice before it goes on to the next.
    grid = np.stack(slices).reshape(*_between(config), *shape)
    axes = len(MESH_AXES)
    grid = grid.transpose([i for axis in range(axes) for i in (axis, axes + axis)])
    whole = tuple(outer * inner for outer, inner in zip(_between(config), shape, strict=True))
    return Mesh(grid.reshape(whole), MESH_AXES, axis_types=types)


def _between(config: MeshConfig) -> tuple[int, ...]:
    """Slices along each of MESH_AXES."""
    return tuple(getattr(config, f"dcn_{axis}", 1) for axis in MESH_AXES)


def _slices(config: MeshConfig, devices: Sequence[Any]) -> list[list[Any]]:
    """The devices of each slice: as they say themselves, else by process, else (to try it on one host) in turn."""
    count = math.prod(_between(config))
    slices, hosts = _grouped(devices, "slice_index"), _grouped(devices, "process_index")
    parts = slices if len(slices) > 1 else hosts if len(hosts) > 1 else [[device] for device in devices]
    if len(parts) % count or (parts is slices and len(parts) != count):
        raise ConfigError(f"config.mesh: the dcn_ sizes ask for {count} slices, and the devices form {len(parts)}")
    each = len(parts) // count
    return [list(itertools.chain(*parts[i : i + each])) for i in range(0, len(parts), each)]


def _grouped(devices: Sequence[Any], attribute: str) -> list[list[Any]]:
    groups: dict[int, list[Any]] = {}
    for device in devices:
        groups.setdefault(getattr(device, attribute, 0), []).append(device)
    return [groups[key] for key in sorted(groups)]


def rows_sharding(mesh: Mesh) -> NamedSharding:
    """How `[batch, …]` arrays are split whose other dimensions stay whole."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_ways(mesh: Mesh) -> int:
    """Parts that a batch's rows are split into."""
    return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """How `[batch, seq_len]` arrays are split."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES, CONTEXT))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())
