"""A run that was killed, or rolled back, ends with the bits of one that was left alone. One CPU device."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from maxlm.report.collect import collect_run
from tests.faults.outcome import params_of
from tests.runs import ROOT, command, environment, make_tokenised_dataset, maxlm, train_line

BLOCKS, ROWS, BATCH = 3, 192, 4
STEPS_A_BLOCK = ROWS // BATCH
LAST_STEP = BLOCKS * STEPS_A_BLOCK
MORE = (f"--config.data.num_blocks={BLOCKS}", "--config.train.eval_every_blocks=0")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_tokenised_dataset(tmp_path_factory.mktemp("data"), rows=ROWS, blocks=BLOCKS + 1, seq_len=32)


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    """A run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = maxlm(*train_line(dataset, workdir, *MORE))
    assert done.returncode == 0, done.stderr
    return workdir


def final_params(workdir: Path) -> list[np.ndarray]:
    assert collect_run(workdir).checkpoints[-1] == LAST_STEP
    return params_of(workdir)


def assert_same_bits(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    assert len(a) == len(b) > 0
    for x, y in zip(a, b, strict=True):
        assert x.tobytes() == y.tobytes()


def signal_at_step(line: list[str], workdir: Path, step: int, number: signal.Signals) -> subprocess.Popen[str]:
    """Starts a run and sends it a signal once its metrics show `step`."""
    process = subprocess.Popen(
        command(line), env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    metrics = workdir / "metrics" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= step:
            break
        time.sleep(0.002)
    os.kill(process.pid, number)
    return process


def kill_at_step(line: list[str], workdir: Path, step: int) -> None:
    process = signal_at_step(line, workdir, step, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"


def test_killed_in_the_middle_of_a_block_and_started_again(dataset, finished, tmp_path):
    workdir = tmp_path / "run"
    line = train_line(dataset, workdir, *MORE)
    kill_at_step(line, workdir, STEPS_A_BLOCK + STEPS_A_BLOCK // 3)
    stopped_at = json.loads((workdir / "metrics" / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert stopped_at < LAST_STEP, "killed too late to prove anything"
    again = maxlm(*line)
    assert again.returncode == 0, again.stderr
    assert_same_bits(final_params(workdir), final_params(finished))
    record = collect_run(workdir)
    assert record.state == "finished"
    assert [line["step"] for line in record.metrics] == list(range(1, LAST_STEP + 1))


def test_asked_to_stop_and_started_again(dataset, finished, tmp_path):
    """SIGTERM in the middle of a block: saved after the step at hand, so that nothing is done twice."""
    workdir = tmp_path / "run"
    line = train_line(dataset, workdir, *MORE)
    process = signal_at_step(line, workdir, STEPS_A_BLOCK + STEPS_A_BLOCK // 3, signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM after step" in errors
    record = collect_run(workdir)
    stopped_at = record.checkpoints[-1]
    assert STEPS_A_BLOCK < stopped_at < LAST_STEP
    assert stopped_at == record.metrics[-1]["step"]
    again = maxlm(*line)
    assert again.returncode == 0, again.stderr
    assert_same_bits(final_params(workdir), final_params(finished))
    assert collect_run(workdir).undone == []


def test_rolled_back_a_block_and_repeated(dataset, finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    before = final_params(finished)
    back = maxlm("rollback", f"--workdir={workdir}", f"--to-block={BLOCKS - 2}")
    assert back.returncode == 0, back.stderr
    assert collect_run(workdir).checkpoints[-1] == LAST_STEP - STEPS_A_BLOCK
    again = maxlm(*train_line(dataset, workdir, *MORE))
    assert again.returncode == 0, again.stderr
    assert_same_bits(final_params(workdir), before)
    assert [block.block for block in collect_run(workdir).blocks if not block.undone] == [0, 1, 2]


def test_rolled_back_a_block_and_left_out(dataset, finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    back = maxlm("rollback", f"--workdir={workdir}", f"--to-block={BLOCKS - 2}", "--skip")
    assert back.returncode == 0, back.stderr
    again = maxlm(*train_line(dataset, workdir, *MORE))
    assert again.returncode == 0, again.stderr
    record = collect_run(workdir)
    assert [block.block for block in record.blocks if not block.undone] == [0, 1, 3]
    assert record.skipped == [2]
    told = [json.loads(line) for line in (dataset / "journal.jsonl").read_text().splitlines()]
    assert [(event["event"], event["block"]) for event in told] == [("skip", 2)]  # the ledger gives its uses back
    assert any(a.tobytes() != b.tobytes() for a, b in zip(final_params(workdir), final_params(finished), strict=True))
