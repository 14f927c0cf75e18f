"""Devices that are not there, for which a program can be compiled: TPU slices, and hosts of NVIDIA GPUs.

XLA's own compiler for TPUs comes in the libtpu wheel and knows all slices by name. That for GPUs comes in jax's plugin
for CUDA; it wants to be told what the GPU is, and no driver.
"""

import importlib.util
import re
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies

from maxlm.errors import ConfigError

_GPU_NAME = re.compile(r"(?:(\d+)x)?(\d+)")


@dataclass(frozen=True)
class _Gpu:
    """What tells one Hopper GPU from another; from NVIDIA's data sheets."""

    name: str  # as the driver says it, and as maxlm/parallel/chips.py has it
    memory: int  # bytes
    memory_bytes_per_s: int


_GPUS = {
    "h100": _Gpu("NVIDIA H100 80GB HBM3", 84_942_979_072, 3_352_320_000_000),
    "h200": _Gpu("NVIDIA H200", 151_397_597_184, 4_800_000_000_000),
}
# XLA's GpuTargetConfigProto; the numbers are those of compute capability 9.0 with 132 cores.
_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: 2048  core_count: 132  fpus_per_core: 128
  shared_memory_per_block: 49152  shared_memory_per_core: 233472  shared_memory_per_block_optin: 232448
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  registers_per_core_limit: 65536  registers_per_block_limit: 65536  l2_cache_size: 52428800  clock_rate_ghz: 1.98
  cuda_compute_capability {{ major: 9 }}  memory_bandwidth: {bandwidth}  device_memory_size: {memory}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 9 patch: 0 }}
device_description_str: "{name}"
"""


def absent_devices(topology: str) -> list[Any]:
    """The devices of `v5p:4x4x4` (a TPU slice), `h100:8` (one host of eight) or `h100:4x8` (four of them).

    Raises:
      ConfigError: an unknown name, or a compiler that is not installed.
    """
    jax.devices()  # the host's own platform is set up first
    kind, _, sizes = topology.partition(":")
    return _gpus(topology, _GPUS[kind], sizes) if kind in _GPUS else _slice(topology)


def _slice(topology: str) -> list[Any]:
    if importlib.util.find_spec("libtpu") is None:
        raise ConfigError(
            f"--topology={topology}: the compiler for TPUs is missing; pip install 'maxlm[tpu]' brings it"
        )
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:  # the plug-in raises whatever it likes, and all of it means this
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"--topology={topology}: {first}; slices are named like v5e:4x4, v5p:4x4x4, v6e:16x16 or tpu7x:2x2x1, and "
            "GPUs like h100:8, h200:8 or h100:4x8 (four hosts)"
        ) from error


def _gpus(topology: str, gpu: _Gpu, sizes: str) -> list[Any]:
    if not (match := _GPU_NAME.fullmatch(sizes)):
        raise ConfigError(f"--topology={topology}: GPUs are named like h100:8, or h100:4x8 for four hosts of eight")
    if any(importlib.util.find_spec(name) is None for name in ("jax_cuda12_plugin", "jax_plugins.xla_cuda12")):
        raise ConfigError(
            f"--topology={topology}: the compiler for GPUs is missing; pip install 'maxlm[cuda-compile]' brings it"
        )
    target = _TARGET.format(name=gpu.name, memory=gpu.memory, bandwidth=gpu.memory_bytes_per_s)
    shape = f"1x{match[1] or 1}x{match[2]}"  # slices, hosts, GPUs of a host
    description = topologies.get_topology_desc(platform="cuda", topology_name="", target_config=target, topology=shape)
    return list(description.devices)
