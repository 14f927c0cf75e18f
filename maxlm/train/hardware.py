"""What the devices can do at best, for model FLOPs utilisation."""

import ctypes
import importlib.metadata
import importlib.util
import os
import time
from typing import Any

import jax
import jax.numpy as jnp

from maxlm.errors import ConfigError
from maxlm.train.chips import CHIPS

_PROBE = 1024  # width of the square matrices that a CPU is measured with


def peak_flops(device: Any, override: float = 0.0) -> float:
    """Peak FLOP/s of one device: `override`, the table's, or on a CPU what a float32 matmul reaches.

    Raises:
      ConfigError: a device that the table does not know; a guess would make every utilisation wrong.
    """
    if override:
        return override
    if device.platform == "cpu":
        return measure_matmul() / jax.local_device_count()  # host devices share the cores
    if device.device_kind not in CHIPS:
        raise ConfigError(
            f"no peak FLOP/s is known for {device.device_kind!r}: set config.train.peak_flops, "
            "or add it to maxlm/train/chips.py"
        )
    return CHIPS[device.device_kind].peak_flops


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
