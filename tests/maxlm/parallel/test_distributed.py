"""Which group of processes a process belongs to, by hand and by its launcher, and how it leaves it."""

import jax
import pytest

from maxlm.errors import ConfigError, DataError
from maxlm.parallel import distributed
from maxlm.parallel.distributed import Group, found, last_words

BY_HAND = {"MAXLM_COORDINATOR": "node7:1234", "MAXLM_NUM_PROCESSES": "4", "MAXLM_PROCESS_ID": "3"}
SLURM = {
    "SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "16", "SLURM_PROCID": "5",
    "SLURM_LOCALID": "5", "SLURM_STEP_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "8",
}  # fmt: skip
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
EXPLICIT = {
    "coordinator_address": "node7:1234", "num_processes": 4, "process_id": 3, "cluster_detection_method": "deactivate",
}  # fmt: skip


def _without_devices(monkeypatch):
    monkeypatch.setattr(distributed, "_on_tpu_vm", lambda environment: False)


@pytest.mark.parametrize("names", [[0], [1, 2], [0, 2], [0, 1]])
def test_some_of_the_variables_are_not_enough(names):
    environment = {list(BY_HAND)[at]: list(BY_HAND.values())[at] for at in names}
    with pytest.raises(ConfigError, match="needs all of --coordinator, --num-processes and --process-id"):
        found(environment)


def test_by_variables_and_by_flags():
    assert found(BY_HAND) == EXPLICIT
    assert found({}, Group("node7:1234", 4, 3)) == EXPLICIT
    assert found(BY_HAND, Group(process_id=0)) == {**EXPLICIT, "process_id": 0}  # flags win


def test_a_coordinator_is_enough_where_the_launcher_counts():
    expected = {**EXPLICIT, "num_processes": 2, "process_id": 1}
    assert found(OPEN_MPI, Group("node7:1234")) == expected
    assert found(SLURM, Group("node7:1234")) == {**EXPLICIT, "num_processes": 16, "process_id": 5}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Group("node7"), r"--coordinator=node7: give it as HOST:PORT"),
        (lambda: Group("node7:http"), r"HOST:PORT"),
        (lambda: Group("a:1", 4, 4), r"--process-id=4 --num-processes=4: processes are numbered 0 … 3"),
        (lambda: Group("a:1", 0), r"--num-processes=0"),
        (lambda: found({**BY_HAND, "MAXLM_PROCESS_ID": "4"}), r"numbered 0 … 3"),
        (lambda: found({**BY_HAND, "MAXLM_PROCESS_ID": "x"}), r"MAXLM_PROCESS_ID='x' is no number of a process"),
        (lambda: found(OPEN_MPI), r"Open MPI 5 and later do not say where process 0 runs: give --coordinator"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_launchers_that_jax_knows(monkeypatch):
    _without_devices(monkeypatch)
    assert found({}) is None
    assert found({**SLURM, "SLURM_NTASKS": "1"}) is None  # salloc or sbatch alone
    assert found({key: SLURM[key] for key in ("SLURM_NTASKS", "SLURM_JOB_ID")}) is None  # in the batch script itself
    assert found(SLURM) == {}
    assert found({**OPEN_MPI, "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:9"}) == {}
    assert found({"TPU_WORKER_HOSTNAMES": "a,b"}) == {}
    assert found({"TPU_WORKER_HOSTNAMES": "localhost"}) is None
    assert found({"TPU_PROCESS_ADDRESSES": "a:1,b:1"}) == {}


def test_one_process_on_a_node_has_all_of_its_gpus():
    one_each = {**SLURM, "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0"}
    assert found(one_each) == {"local_device_ids": [0, 1, 2, 3, 4, 5, 6, 7]}
    assert found({**one_each, "SLURM_GPUS_ON_NODE": "1"}) == {}


def test_a_tpu_machine_asks_its_metadata(monkeypatch):
    monkeypatch.setattr(distributed, "_on_tpu_vm", lambda environment: True)
    assert found({}) == {}


def test_a_machine_without_chips_is_no_tpu_machine():
    assert not distributed._on_tpu_vm({})
    assert not distributed._on_tpu_vm({"JAX_PLATFORMS": "cpu"})


def test_one_process_needs_nothing(monkeypatch):
    for name in (*BY_HAND, *SLURM, *OPEN_MPI, "TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES"):
        monkeypatch.delenv(name, raising=False)
    distributed.initialize()
    assert jax.process_count() == 1


def test_alone_errors_take_their_usual_way():
    def fail():
        with distributed.leaving_at_once():
            raise DataError("no such data set")

    with pytest.raises(DataError, match="no such data set"):
        fail()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("runs/data: no such data set"), 2, "runs/data: no such data set"),
        (KeyboardInterrupt(), 130, "interrupted; the same command"),
        (
            jax.errors.JaxRuntimeError("UNKNOWN: reset by peer\nmore"),
            75,
            "another one is gone (UNKNOWN: reset by peer);",
        ),
        (ZeroDivisionError("a bug"), 1, "ZeroDivisionError: a bug"),
    ],
)
def test_last_words(error, code, words):
    found_code, found_words = last_words(error)
    assert found_code == code
    assert words in found_words
    assert "\n" not in found_words
