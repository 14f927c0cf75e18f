"""Settings that all tests share; jax reads its own when it is first imported, so they stand before anything else."""

import os
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[1] / ".cache" / "jax"
os.environ |= {
    "JAX_PLATFORMS": "cpu",
    # Eight devices for meshes; machine code left unoptimised, since programs this small take longest to compile.
    "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# The first example of a test compiles; how long that takes says nothing.
settings.register_profile("maxlm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("maxlm")


@pytest.fixture
def one_device():
    """A mesh of one device."""
    from tests import tiny

    return tiny.one_device()


@pytest.fixture
def tiny_model():
    """A model small enough to compile in a second."""
    from tests import tiny

    return tiny.model()
