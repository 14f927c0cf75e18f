"""A sweep as typed: its runs, branches, failures, and going on."""

import json
import os
import signal
import subprocess
import time

import pytest

from maxlm.cli.main import main
from tests.runs import ROOT, command, environment, make_tokenised_dataset, maxlm

FILE = """
from maxlm.scaling.sweep import base

def get_config():
    config = base()
    config.config = "configs/base.py"
    config.set = ("train.batch=4", "train.log_every=1", "model.num_layers=1", "model.num_heads=2",
                  "model.num_kv_heads=2", "model.head_dim=8", "optimizer.learning_rate=0.01")
    config.sizes = (
        {{"name": "a", "set": ("model.embed=16", "model.mlp=32")}},
        {{"name": "b", "set": ("model.embed=32", "model.mlp={mlp}")}},
    )
    config.data = ({{"name": "mixed", "dataset": "{dataset}", "shares": {{"en": 0.5, "zh": 0.5}}}},)
    config.budgets = (2, 4)
    config.workers = 2
    return config
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tokenised_dataset(tmp_path_factory.mktemp("data"), blocks=4, rows=8, seq_len=16)


def sweep_file(folder, dataset, mlp="64"):
    (folder / "sweep.py").write_text(FILE.format(dataset=dataset, mlp=mlp))
    return f"--sweep={folder / 'sweep.py'}"


def rows(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """A launcher of SLURM's name on the PATH that notes what it was asked for, and runs it here."""
    script = tmp_path / "bin" / "srun"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nshift 2\nexec "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "asked"


def test_a_sweep_from_end_to_end(dataset, tmp_path, srun):
    """Branches of one trunk; a size that fails stops nobody else; the same command again trains nothing anew."""
    out = tmp_path / "out"
    slurm = ["--config.runner=slurm", "--config.runner_arguments=['--partition=gpu']"]
    line = ["sweep", sweep_file(tmp_path, dataset, mlp="x"), f"--workdir={out}", *slurm]
    done = maxlm(*line)
    assert done.returncode == 2, done.stdout
    assert "6 runs, 10 blocks to train on" in done.stdout
    assert "branching saves 17% of the blocks" in done.stdout  # 3 + 1 + 1 instead of 2 + 4
    assert "b-mixed-seed0-trunk: failed error: config.model.mlp: expected int, found 'x'" in done.stdout
    assert "1 runs failed, 2 could not start" in done.stderr
    two, four = rows(out)  # trunks are of no budget
    assert (two["run"], four["run"]) == ("a-mixed-seed0-2", "a-mixed-seed0-4")
    assert (two["tokens"], four["tokens"]) == (2 * 8 * 16, 4 * 8 * 16)
    assert four["share/en"] == 0.5
    assert four["loss"] < two["loss"]
    assert any(key.startswith("loss/") for key in four)
    config = json.loads((out / "runs" / "a-mixed-seed0-4" / "config.json").read_text())
    assert config["branch"]["step"] == 6  # after three blocks of eight rows, four at a time
    asked = srun.read_text().splitlines()
    assert len(asked) == 4
    assert all(one.startswith("--job-name=maxlm-sweep --partition=gpu ") for one in asked)

    stamp = (out / "runs" / "a-mixed-seed0-4" / "journal.jsonl").stat().st_mtime_ns
    assert maxlm(*line).returncode == 2
    assert (out / "runs" / "a-mixed-seed0-4" / "journal.jsonl").stat().st_mtime_ns == stamp
    assert len(srun.read_text().splitlines()) == 5  # the one that failed was tried again
    assert main(["report", f"--sweep={out}"]) == 0
    page = (out / "report.html").read_text()
    assert "2 points are too few" in page  # said, not left out
    assert "b-mixed-seed0-trunk" in page


def test_a_run_of_its_own_for_each_budget(capsys, dataset, tmp_path):
    line = ["sweep", sweep_file(tmp_path, dataset), f"--workdir={tmp_path}", "--dry-run", "--config.branch=False"]
    assert main([*line, "--config.learning_rates=[0.01, 0.02]", "--config.seeds=[0, 1]"]) == 0
    said = capsys.readouterr().out
    assert "16 runs" in said
    assert "a-mixed-lr0.02-seed1-4: --config=configs/base.py" in said
    assert "trunk" not in said


def test_sizes_by_parameters(capsys, dataset, tmp_path):
    (tmp_path / "sweep.py").write_text(
        FILE.format(dataset=dataset, mlp="64").replace('"set": ("model.embed=16", "model.mlp=32")', '"params": 1e6')
    )
    assert main(["sweep", f"--sweep={tmp_path / 'sweep.py'}", f"--workdir={tmp_path}", "--dry-run"]) == 0
    assert "--config.model.embed=" in capsys.readouterr().out


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_leaves_no_runs_behind(dataset, tmp_path, srun, how):
    pid = tmp_path / "pid"
    (srun.parent / "bin" / "srun").write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}\nexec sleep 300\n")
    line = ["sweep", sweep_file(tmp_path, dataset), f"--workdir={tmp_path / 'out'}", "--config.runner=slurm"]
    typed = command(line)
    # Tests that run in the background inherit that SIGINT is ignored; whoever types a command does not.
    typed[2] = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {typed[2]}"
    process = subprocess.Popen(typed, env=environment(), cwd=ROOT, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not pid.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(how)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.communicate()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--config.budgets=[]"], "budgets: a sweep needs it"),
        (["--config.budgets=[1]"], "two blocks at least"),
        (["--config.runner=lsf"], "'lsf' is not a choice"),
        (["--config.wrokers=3"], "did you mean 'workers'"),
        (["--config.sizes=[{'name': 'a'}, {'name': 'a'}]"], "'a' is there twice"),
        (["--config.sizes=[{'name': 'a', 'params': 5}]"], "too few for a model"),
    ],
)
def test_mistakes(capsys, dataset, tmp_path, more, words):
    assert main(["sweep", sweep_file(tmp_path, dataset), f"--workdir={tmp_path}", "--dry-run", *more]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert words in said
