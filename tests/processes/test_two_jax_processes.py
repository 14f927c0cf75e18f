"""Two processes on 127.0.0.1 train one model, each reading its half of every batch, and agree with one process."""

from pathlib import Path

import pytest

from maxlm.report.collect import collect_run
from tests.processes.groups import by_hand, free_port, start
from tests.runs import command, environment, make_tokenised_dataset, maxlm, train_line

MORE = ("--config.data.num_blocks=2", "--config.train.eval_every_blocks=1")


def train_with_two_processes(line: list[str], devices: int) -> None:
    """`devices`: of each process."""
    port = free_port()
    for process in [start(command(line), {**environment(devices), **by_hand(port, index)}) for index in range(2)]:
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
    # Step times of both hosts, gathered in every line; those of the last line too.
    assert [line["step"] for line in two.hosts] == list(range(1, 9))
    for line in two.hosts:
        slowest, busy = line["step_s/max"], line["step_s/host"]
        assert len(slowest) == len(busy) == 2
        assert all(0 <= own <= whole for own, whole in zip(busy, slowest, strict=True))
    assert not one.hosts
