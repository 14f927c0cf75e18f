"""A few of the schedules that are run by the thousand, in a process of their own: who dies leaves things behind."""

import subprocess
import sys

from tests.runs import ROOT, environment


def test_random_schedules():
    line = [sys.executable, "-m", "tests.faults.schedules", "--schedules=5", "--steps=6", "--same"]
    done = subprocess.run(line, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "5 schedules of up to 6 steps: all accounts agree" in done.stdout
