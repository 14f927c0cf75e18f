"""How a run's process is started elsewhere."""

import subprocess
import sys

from etils import epath

from maxlm.scaling.runner import command
from maxlm.scaling.sweep import Data, Job, Size, Sweep


def test_ray_starts_a_run_in_the_folder_and_environment_of_the_sweep(tmp_path, monkeypatch):
    """Its jobs begin in a folder of their own, with an environment of their own; paths of a sweep may be relative."""
    monkeypatch.chdir(tmp_path)
    data = Data("d", "data")
    sweep = Sweep(
        config="c.py", sizes=(Size("s"),), data=(data,), budgets=(2,), runner="ray", env={"NPROC": "1"},
        runner_arguments=("--entrypoint-num-gpus=1",),
    )  # fmt: skip
    line = command(sweep, Job("one", (), "s", data, None, 0, 2), epath.Path("out"))
    assert line[:5] == ["ray", "job", "submit", "--entrypoint-num-gpus=1", "--"]
    start = line[5 : line.index(sys.executable)]
    say = [sys.executable, "-c", "import os; print(os.getcwd(), os.environ['NPROC'])"]
    done = subprocess.run([*start, *say], cwd="/", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.stdout.split() == [str(tmp_path), "1"], done.stderr
