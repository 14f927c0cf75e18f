"""What the devices can do at best, for model FLOPs utilisation, and memory: how much is taken, how it is kept."""

import ctypes
import importlib.metadata
import importlib.util
import os
import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp

from maxlm.parallel.chips import peak_of

_GIB = 2**30
_PROBE = 1024  # width of the square matrices that a CPU is measured with


def peak_flops(device: Any, dtype: str, override: float = 0.0) -> float:
    """Peak FLOP/s of one device: `override`, the table's for `dtype`, or on a CPU what a float32 matmul reaches.

    Raises:
      ConfigError: a device that the table does not know.
    """
    if override:
        return override
    if device.platform == "cpu":
        return measure_matmul() / jax.local_device_count()  # host devices share the cores
    return peak_of(device.device_kind, dtype)


def measure_matmul(size: int = _PROBE, repeats: int = 5) -> float:
    """FLOP/s of the best of a few float32 matmuls on the first device."""
    a = jnp.ones((size, size), jnp.float32)
    multiply = jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        multiply(a).block_until_ready()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def memory_in_use() -> dict[str, float]:
    """GiB in use now and at the peak: of the fullest of this process's devices, or on a CPU of the process itself."""
    stats = [found for device in jax.local_devices() if (found := device.memory_stats())]
    if stats:
        return {
            "memory/device_gib": max(found["bytes_in_use"] for found in stats) / _GIB,
            "memory/device_peak_gib": max(found.get("peak_bytes_in_use", 0) for found in stats) / _GIB,
        }
    if sys.platform != "linux":
        return {}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    return {"memory/process_gib": resident / _GIB, "memory/process_peak_gib": peak / _GIB}


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -3, -4, -8  # of glibc's mallopt (malloc.h)
_BATCH_BYTES, _KEPT_BYTES = 64 << 20, 1 << 30  # larger pieces than any column of a batch; what may lie idle


def keep_freed_memory() -> None:
    """Has glibc keep memory that is given back, for the next batch and step. Say it before jax starts its threads.

    glibc gets pieces of over 128 KB from the kernel, page by page, and returns them at once. Making a batch then takes
    four times as long (docs/log.md). Where jax will run on the CPU, XLA's scratch memory is as large as the step: there
    nothing is given back at all, which makes a step of 14M parameters 1.15 times as fast, and the process 1.6 times as
    large. Elsewhere than on glibc nothing is done.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return
    if _runs_on_cpu():
        library.mallopt(_M_ARENA_MAX, 1)  # further arenas are too small for it and would fall back on mapping
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)
    else:
        library.mallopt(_M_MMAP_THRESHOLD, _BATCH_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _runs_on_cpu() -> bool:
    """Whether jax will find no accelerator; it can't be asked, since answering starts its threads."""
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return platforms == "cpu"
    return not importlib.metadata.entry_points(group="jax_plugins") and importlib.util.find_spec("libtpu") is None
