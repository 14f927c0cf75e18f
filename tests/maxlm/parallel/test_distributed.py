"""Starting a group of processes by hand."""

import pytest

from maxlm.errors import ConfigError
from maxlm.parallel import distributed

VARIABLES = ("MAXLM_COORDINATOR", "MAXLM_NUM_PROCESSES", "MAXLM_PROCESS_ID")


@pytest.fixture
def alone(monkeypatch):
    for name in (*VARIABLES, "SLURM_NTASKS", "SLURM_STEP_NODELIST", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("given", [VARIABLES[:1], VARIABLES[1:], VARIABLES[::2]])
def test_some_of_the_variables_are_not_enough(alone, given):
    for name in given:
        alone.setenv(name, "1")
    with pytest.raises(ConfigError, match="set all of MAXLM_COORDINATOR, MAXLM_NUM_PROCESSES, MAXLM_PROCESS_ID"):
        distributed.initialize()


def test_one_process_needs_nothing(alone):
    import jax

    distributed.initialize()
    assert jax.process_count() == 1
