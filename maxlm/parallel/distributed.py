"""Process start-up: joins the processes of a TPU slice, a SLURM job or a group started by hand."""

import os

import jax
from jax.experimental import multihost_utils

from maxlm.errors import ConfigError

# Set these three to join processes by hand; TPU pods and SLURM are found by jax itself.
_BY_HAND = ("MAXLM_COORDINATOR", "MAXLM_NUM_PROCESSES", "MAXLM_PROCESS_ID")


def initialize() -> None:
    """Joins this process to its group, before any other use of jax. Does nothing where there is no group.

    Raises:
      ConfigError: some of the three MAXLM_ variables are set and others are not.
    """
    by_hand = [os.environ.get(name, "") for name in _BY_HAND]
    if all(by_hand):
        coordinator, count, index = by_hand
        jax.distributed.initialize(coordinator, num_processes=int(count), process_id=int(index))
    elif any(by_hand):
        raise ConfigError(f"set all of {', '.join(_BY_HAND)}, or none")
    elif _in_slurm_job() or _in_tpu_pod():
        jax.distributed.initialize()


def wait_for_all(what: str) -> None:
    """Waits until all processes of the group are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def _in_slurm_job() -> bool:
    return int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in os.environ


def _in_tpu_pod() -> bool:
    return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
