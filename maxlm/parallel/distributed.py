"""Process start-up: joins the processes of a TPU slice, a SLURM or Open MPI job, or a group started by hand."""

import importlib.util
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from maxlm.errors import EXIT_TRY_AGAIN, ConfigError, StoppedError, UserError

# A process that is gone is missed after so long, and all others end: within a minute, with some to spare. Heartbeats
# come from a thread that Python does not hold up.
HEARTBEAT_TIMEOUT_S = 30
_JOIN_TIMEOUT_S = 300  # nodes of a job may start minutes apart


@dataclass(frozen=True)
class Group:
    """A group of processes as given by hand; what is None is taken from the environment, or found by jax."""

    coordinator: str | None = None  # HOST:PORT of process 0
    num_processes: int | None = None
    process_id: int | None = None

    def __post_init__(self) -> None:
        if self.coordinator is not None and not self.coordinator.rpartition(":")[2].isdigit():
            raise ConfigError(f"--coordinator={self.coordinator}: give it as HOST:PORT, with a free port of process 0")
        count, index = self.num_processes, self.process_id
        if count is not None and (count < 1 or (index is not None and not 0 <= index < count)):
            raise ConfigError(f"--process-id={index} --num-processes={count}: processes are numbered 0 … {count - 1}")


def initialize(by_hand: Group = Group()) -> None:
    """Joins this process to its group, before any other use of jax. Does nothing where there is no group.

    Raises:
      ConfigError: the group is described in part only, or can't be joined.
    """
    arguments = found(os.environ, by_hand)
    if arguments is None:
        return
    try:
        if arguments.get("process_id") == 0:
            _check_free(arguments["coordinator_address"])
        jax.distributed.initialize(
            **arguments, initialization_timeout=_JOIN_TIMEOUT_S, heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S
        )
    except (
        ValueError,
        RuntimeError,
        OSError,
    ) as error:  # what jax and its coordination service say in their many words
        words = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"can't join the group of processes ({words}); give all of them the same --coordinator=HOST:PORT and "
            "--num-processes, and each its --process-id (docs/launching.md)"
        ) from error


def _check_free(coordinator: str) -> None:
    """Raises OSError if somebody listens on the port that this process is to listen on: jaxlib may crash over it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an earlier run left closing is no matter
        probe.bind(("", int(coordinator.rpartition(":")[2])))


def wait_for_all(what: str) -> None:
    """Waits until all processes of the group are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def any_of_all(mine: bool) -> bool:
    """Whether it holds in any process of the group; all of them wait for the answer."""
    return bool(multihost_utils.process_allgather(np.array([mine])).any()) if jax.process_count() > 1 else mine


def of_first(mine: int) -> int:
    """The value that the first process of the group has; all of them wait for it."""
    return int(multihost_utils.broadcast_one_to_all(np.int64(mine))) if jax.process_count() > 1 else mine


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Has a process of a group that fails inside end there and then, so that the others notice and end too.

    An orderly exit would wait for the others to exit as well, while they wait for this one in the middle of a step.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        if not isinstance(error, UserError | KeyboardInterrupt | jax.errors.JaxRuntimeError):
            traceback.print_exc()
        code, words = last_words(error)
        where = f"process {jax.process_index()} of {jax.process_count()}"
        sys.stderr.write(f"error: {where}: {words}\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)


def last_words(error: BaseException) -> tuple[int, str]:
    """Exit code, and one line, for an error that ends a process of a group."""
    if isinstance(error, StoppedError):
        return 128 + signal.SIGTERM, str(error)
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted; the same command goes on from the last checkpoint"
    if isinstance(error, jax.errors.JaxRuntimeError):
        first = str(error).strip().splitlines()[0][:200]
        return EXIT_TRY_AGAIN, (
            f"a step failed on the way between the processes, most likely because another one is gone ({first}); the "
            "same command goes on from the last checkpoint"
        )
    return 1, f"{type(error).__name__}: {error}"


def found(environment: Mapping[str, str], by_hand: Group = Group()) -> dict[str, Any] | None:
    """What `jax.distributed.initialize` is to be told: {} where it finds everything itself, None without a group."""
    coordinator = by_hand.coordinator or environment.get("MAXLM_COORDINATOR") or None
    count = _either(by_hand.num_processes, environment, "MAXLM_NUM_PROCESSES")
    index = _either(by_hand.process_id, environment, "MAXLM_PROCESS_ID")
    if coordinator is None and count is None and index is None:
        return _found_by_launcher(environment)
    for names in (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("SLURM_NTASKS", "SLURM_PROCID")):
        count = _either(count, environment, names[0])
        index = _either(index, environment, names[1])
    if coordinator is None or count is None or index is None:
        raise ConfigError(
            "a group of processes needs all of --coordinator, --num-processes and --process-id (or of "
            "MAXLM_COORDINATOR, MAXLM_NUM_PROCESSES and MAXLM_PROCESS_ID), or none; found "
            f"{coordinator}, {count} and {index}"
        )
    Group(coordinator, count, index)  # checks them, wherever they came from
    # All devices of the machine, or those that the environment leaves visible; jax would take one for each process.
    return {
        "coordinator_address": coordinator,
        "num_processes": count,
        "process_id": index,
        "cluster_detection_method": "deactivate",
    }


def _found_by_launcher(environment: Mapping[str, str]) -> dict[str, Any] | None:
    if int(environment.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in environment:
        # With one process on a node jax would use one of its GPUs, the first.
        alone = environment["SLURM_NTASKS"] == environment.get("SLURM_STEP_NUM_NODES")
        gpus = int(environment.get("SLURM_GPUS_ON_NODE", "1"))
        return {"local_device_ids": list(range(gpus))} if alone and gpus > 1 else {}
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        if "OMPI_MCA_orte_hnp_uri" not in environment:
            raise ConfigError(
                "Open MPI 5 and later do not say where process 0 runs: give --coordinator=HOST:PORT; number and count "
                "of the processes are found"
            )
        return {}
    if "," in environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES", "")):
        return {}
    return {} if _on_tpu_vm(environment) else None


def _on_tpu_vm(environment: Mapping[str, str]) -> bool:
    """Whether this is a machine of Cloud TPU, whose metadata tell jax of the slice."""
    platforms = environment.get("JAX_PLATFORMS", "tpu")
    chips = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return "tpu" in platforms and bool(chips) and importlib.util.find_spec("libtpu") is not None


def _either(value: int | None, environment: Mapping[str, str], name: str) -> int | None:
    """`value`, or the number in a variable of the environment.

    Raises:
      ConfigError: it is no number.
    """
    if value is not None or not environment.get(name):
        return value
    if not environment[name].isdigit():
        raise ConfigError(f"{name}={environment[name]!r} is no number of a process")
    return int(environment[name])
