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


_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # glibc's names for parameters of mallopt (malloc.h)


def keep_scratch_memory() -> None:
    """Where jax will run on the CPU: has glibc keep the memory that a step gives back, for the next step.

    XLA on a CPU takes its scratch memory anew for every step. glibc gets so large a piece from the kernel, page by
    page, and returns it at once. Keeping it makes a step of 14M parameters 1.15 times as fast, and the process 1.6
    times as large (docs/log.md). It must be said before jax starts its threads. Elsewhere than on glibc, or beside an
    accelerator, nothing is done.
    """
    library = ctypes.CDLL(None)
    if not _runs_on_cpu() or not hasattr(library, "gnu_get_libc_version"):
        return
    library.mallopt(_M_ARENA_MAX, 1)  # further arenas are too small for it and would fall back on mapping
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, -1)


def _runs_on_cpu() -> bool:
    """Whether jax will find no accelerator; it can't be asked, since answering starts its threads."""
    if platforms := os.environ.get("JAX_PLATFORMS"):
        return platforms == "cpu"
    return not importlib.metadata.entry_points(group="jax_plugins") and importlib.util.find_spec("libtpu") is None
