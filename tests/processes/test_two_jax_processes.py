"""Two processes on 127.0.0.1 train one model, each reading its half of every batch, and agree with one process."""

import socket
import subprocess
from pathlib import Path

import pytest

from maxlm.report.collect import collect_run
from tests.runs import ROOT, command, environment, make_tokenised_dataset, maxlm, train_line

MORE = ("--config.data.num_blocks=2", "--config.train.eval_every_blocks=1")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def train_with_two_processes(line: list[str], devices: int) -> None:
    """`devices`: of each process."""
    joined = {"MAXLM_COORDINATOR": f"127.0.0.1:{free_port()}", "MAXLM_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            command(line), env={**environment(devices), **joined, "MAXLM_PROCESS_ID": str(index)}, cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]


@pytest.mark.parametrize("mesh", ["fsdp=2", "stage=2 tensor=2"])
def test_two_processes_equal_one(tmp_path: Path, mesh: str):
    """Between the processes lies the first axis."""
    more = [*MORE, "--config.mesh.fsdp=1", *(f"--config.mesh.{size}" for size in mesh.split())]
    dataset, devices = make_tokenised_dataset(tmp_path / "data", rows=16, blocks=2), len(mesh.split())
    train_with_two_processes(train_line(dataset, tmp_path / "two", *more), devices)
    alone = maxlm(*train_line(dataset, tmp_path / "one", *more), devices=2 * devices)
    assert alone.returncode == 0, alone.stderr
    one, two = collect_run(tmp_path / "one"), collect_run(tmp_path / "two")
    assert [line["step"] for line in two.metrics] == list(range(1, 9))
    assert [m["loss"] for m in two.metrics] == pytest.approx([m["loss"] for m in one.metrics], abs=1e-4)
    assert two.validation[-1]["validation/loss"] == pytest.approx(one.validation[-1]["validation/loss"], abs=1e-4)
    assert two.state == "finished"
