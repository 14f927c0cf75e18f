"""The benchmark of GPUs at toy sizes on a CPU: that all of it runs, with PyTorch where it is installed."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.house.modules import ROOT


def test_runs_at_toy_sizes():
    torch = sys.executable if importlib.util.find_spec("torch") else ""
    words = ["--small", "--only=GPT-2", "--remat=full", "--rounds=1", "--samples=1", "--steps=1", "--warmup=1"]
    command = [sys.executable, "tools/bench_gpu.py", *words, f"--torch-python={torch}"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}  # one device
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    rows = dict(
        re.findall(r"^(maxlm[^\d]*?|torch[^\d]*?) {2,}(.*)$", done.stdout.replace("fp8", "eight"), re.MULTILINE)
    )
    assert set(rows) == {"maxlm, full", "maxlm eight, full"} | ({"torch eager", "torch.compile"} if torch else set())
    for row in rows.values():
        milliseconds, tokens_per_s, _, memory, loss, _ = row.split()
        assert float(milliseconds) / 1e3 * float(tokens_per_s) == pytest.approx(256, rel=0.01)
        assert float(memory) > 0.1
        assert 5.5 < float(loss) < 6.5  # ln 512 = 6.24
