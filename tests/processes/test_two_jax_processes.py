"""Two processes on 127.0.0.1 train one model, each reading its half of every batch, and agree with one process."""

import json
import shutil
from pathlib import Path

import pytest

from maxlm.report.collect import collect_run
from tests.processes.groups import by_hand, free_port, start
from tests.runs import command, environment, make_tokenised_dataset, maxlm, train_line

MORE = ("--config.data.num_blocks=2", "--config.train.batch=8")
STEPS = 4  # of a block


def train_with_two_processes(line: list[str], devices: int) -> str:
    """`devices`: of each process. Returns what the first one said."""
    port = free_port()
    processes = [start(command(line), {**environment(devices), **by_hand(port, index)}) for index in range(2)]
    said = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return said[0][0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_tokenised_dataset(tmp_path_factory.mktemp("data"), rows=8 * STEPS, blocks=2)


@pytest.fixture(scope="module")
def eight(dataset, tmp_path_factory) -> Path:
    """A run of two blocks by two processes of four devices each, split over all eight."""
    workdir = tmp_path_factory.mktemp("runs") / "eight"
    train_with_two_processes(train_line(dataset, workdir, *MORE, "--config.mesh.fsdp=8"), devices=4)
    return workdir


def losses(workdir: Path) -> list[float]:
    return [line["loss"] for line in collect_run(workdir).metrics]


def test_two_processes_equal_one(eight, dataset, tmp_path: Path):
    alone = maxlm(*train_line(dataset, tmp_path / "one", *MORE, "--config.mesh.fsdp=8"), devices=8)
    assert alone.returncode == 0, alone.stderr
    one, two = collect_run(tmp_path / "one"), collect_run(eight)
    assert [line["step"] for line in two.metrics] == list(range(1, 2 * STEPS + 1))
    assert losses(eight) == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    assert two.validation[-1]["validation/loss"] == pytest.approx(one.validation[-1]["validation/loss"], abs=1e-4)
    assert two.state == "finished"
    # Step times of both hosts, gathered in every line; those of the last line too.
    assert [line["step"] for line in two.hosts] == list(range(1, 2 * STEPS + 1))
    for line in two.hosts:
        slowest, busy = line["step_s/max"], line["step_s/host"]
        assert len(slowest) == len(busy) == 2
        assert all(0 <= own <= whole for own, whole in zip(busy, slowest, strict=True))
    assert not one.hosts


def test_stages_lie_between_the_processes(dataset, tmp_path: Path):
    """Between the processes lies the first axis."""
    line = [*MORE, "--config.train.eval_every_blocks=0", "--config.mesh.stage=2", "--config.mesh.tensor=2"]
    line = [*line, "--config.mesh.fsdp=1"]
    train_with_two_processes(train_line(dataset, tmp_path / "two", *line), devices=2)
    alone = maxlm(*train_line(dataset, tmp_path / "one", *line), devices=4)
    assert alone.returncode == 0, alone.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-4)


def test_a_checkpoint_of_eight_devices_of_two_processes_goes_on_on_four_of_one(eight, dataset, tmp_path: Path):
    """From the first block's end, on another mesh: the losses of the block that follows are the same."""
    shutil.copytree(eight, tmp_path / "four")
    shutil.rmtree(tmp_path / "four" / "checkpoints" / str(2 * STEPS))
    mesh = ["--config.mesh.data=2", "--config.mesh.fsdp=1", "--config.mesh.tensor=2"]
    done = maxlm(*train_line(dataset, tmp_path / "four", *MORE, *mesh), devices=4)
    assert done.returncode == 0, done.stderr
    record = collect_run(tmp_path / "four")
    assert [[line["step"] for line in stretch] for stretch in record.undone] == [list(range(STEPS + 1, 2 * STEPS + 1))]
    assert losses(tmp_path / "four") == pytest.approx(losses(eight), abs=1e-5)


def test_damage_that_one_of_two_finds_is_passed_over_by_both(eight, dataset, tmp_path: Path):
    """Of the files each process compares its share; neither may wait in a restore that the other one gave up."""
    shutil.copytree(eight, tmp_path / "damaged")
    shutil.rmtree(tmp_path / "damaged" / "checkpoints" / str(2 * STEPS))  # or there would be nothing to go on with
    newest = tmp_path / "damaged" / "checkpoints" / str(STEPS)
    noted = sorted(json.loads((newest / "digests.json").read_text())["sha256"])
    only_second = max((newest / name for name in noted[1::2]), key=lambda path: path.stat().st_size)
    raw = bytearray(only_second.read_bytes())
    raw[len(raw) // 2] ^= 1
    only_second.write_bytes(raw)
    said = train_with_two_processes(train_line(dataset, tmp_path / "damaged", *MORE, "--config.mesh.fsdp=8"), devices=4)
    assert said.count("WARNING") == 1
    assert "another process found it damaged; set aside" in " ".join(said.split())
    assert losses(tmp_path / "damaged") == pytest.approx(losses(eight), abs=1e-6)
    assert sorted(path.name for path in (tmp_path / "damaged" / "checkpoints").iterdir() if path.name.isdigit()) == [
        str(STEPS), str(2 * STEPS),
    ]  # fmt: skip
