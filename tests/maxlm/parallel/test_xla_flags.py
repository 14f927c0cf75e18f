"""XLA's flags: added to what a user has set, never instead of it, and all of them known to the compilers."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from maxlm.parallel.xla_flags import FLAGS, apply


def test_flags_are_added_to_what_is_there():
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    apply(environment)
    assert set(environment) == set(FLAGS)
    assert environment["XLA_FLAGS"].startswith("--xla_force_host_platform_device_count=8 --xla_gpu")
    for variable, flags in FLAGS.items():
        for flag in flags:
            assert f"--{flag.name}={flag.value}" in environment[variable].split()
            assert flag.why
    once = dict(environment)
    apply(environment)
    assert environment == once


@pytest.mark.parametrize("given", ["=false", "", "=0 --xla_other=1"])
def test_what_a_user_has_set_stays(given):
    name = FLAGS["LIBTPU_INIT_ARGS"][0].name
    environment = {"LIBTPU_INIT_ARGS": f"--{name}{given}"}
    apply(environment)
    assert environment["LIBTPU_INIT_ARGS"].startswith(f"--{name}{given}")
    assert len(re.findall(rf"--{name}\b", environment["LIBTPU_INIT_ARGS"])) == 1


def test_the_compilers_for_cpus_and_gpus_know_the_flags():
    """An unknown one ends the process."""
    environment = {**os.environ, "XLA_FLAGS": ""}
    apply(environment)
    program = "import jax; print(jax.jit(lambda x: x + 1)(1))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="the compiler for TPUs is not installed")
def test_the_compiler_for_tpus_knows_the_flags():
    program = (
        "from maxlm.parallel import xla_flags; xla_flags.apply()\n"
        "from maxlm.train.absent import absent_devices; print(len(absent_devices('v5e:2x2')))"
    )
    quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | quiet, capture_output=True, text=True, check=True
    )
    assert done.stdout == "4\n"
