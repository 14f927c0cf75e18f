"""Two real processes find each other by the variables that SLURM, Open MPI or a person set."""

import pytest

from tests.processes.groups import by_hand, free_port, python, start

# Joins, and sums up a number of each process over the group.
CODE = """
import sys
from maxlm.parallel.distributed import Group, initialize
initialize(Group(*sys.argv[1:]))  # the coordinator, where it is given by hand
import jax
from jax.experimental import multihost_utils
total = multihost_utils.process_allgather(jax.numpy.array([10 + jax.process_index()])).sum()
print(jax.process_index(), jax.process_count(), len(jax.local_devices()), int(total))
"""
LOWEST = 61_440  # of the ports among which jax chooses one by the number of the job


def _slurm(port: int, index: int) -> dict[str, str]:
    """As srun sets them for two tasks on one node."""
    return {
        "SLURM_JOB_ID": str(port - LOWEST), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(index), "SLURM_LOCALID": str(index), "SLURM_STEP_NUM_NODES": "1",
    }  # fmt: skip


def _open_mpi(port: int, index: int) -> dict[str, str]:
    """As mpirun 4 sets them."""
    return {
        "OMPI_MCA_orte_hnp_uri": f"{(port - LOWEST) * 4096}.0;tcp://127.0.0.1,127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": str(index), "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
    }  # fmt: skip


def _open_mpi_5(port: int, index: int) -> dict[str, str]:
    """As mpirun 5 sets them; the address of process 0 is given by hand."""
    return {key: value for key, value in _open_mpi(port, index).items() if "hnp_uri" not in key}


@pytest.mark.parametrize(
    ("variables", "arguments"), [(_slurm, None), (_open_mpi, None), (_open_mpi_5, "127.0.0.1:{port}")]
)
def test_two_processes_find_each_other(variables, arguments):
    port = free_port(LOWEST)
    more = [arguments.format(port=port)] if arguments else []
    processes = [start([*python(CODE), *more], variables(port, index)) for index in range(2)]
    for index, process in enumerate(processes):
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-3000:]
        assert out.splitlines()[-1].split() == [str(index), "2", "1", "21"]  # gloo talks before


def test_a_port_that_is_taken_is_told_in_one_line():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code = (
            "from maxlm.errors import UserError\nfrom maxlm.parallel.distributed import initialize\n"
            "try: initialize()\nexcept UserError as error: print(error)"
        )
        process = start(python(code), by_hand(taken.getsockname()[1], 0))
        out, errors = process.communicate(timeout=60)
    assert "can't join the group of processes (" in out, errors[-2000:]
    assert "give all of them the same --coordinator=HOST:PORT" in out
