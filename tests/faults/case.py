"""One fault's folder, and the processes that a person would start in it."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.runs import ROOT, command, environment, train_line

BLOCKS, BATCH, SEED = 3, 8, 0
CONFIG = """
from data_pipeline.config import DataConfig
from maxlm.config import config_dict
from tests.data_pipeline.produce import made

def get_config():
    return config_dict(made.config(num_blocks=%d, ahead=2))
"""
_POLL_S = 0.002


@dataclass
class Case:
    """One fault: its folder, and the lines that start the two processes."""

    folder: Path
    rng: random.Random

    @property
    def dataset(self) -> Path:
        return self.folder / "data"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def producing(self) -> list[str]:
        config = self.folder / "data_config.py"
        config.write_text(CONFIG % BLOCKS)
        return command(["produce", f"--config={config}", f"--dataset={self.dataset}"], "data_pipeline.cli")

    def training(self, *more: str) -> list[str]:
        line = train_line(self.dataset, self.run, f"--config.data.num_blocks={BLOCKS}", "--config.data.wait_s=120")
        settings = (f"--config.train.batch={BATCH}", "--config.train.eval_every_blocks=0")
        return command([*line, *settings, *more])

    def start(self, line: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            line, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self, line: list[str]) -> str:
        """Runs a command to its end; its output. Raises AssertionError if it fails."""
        process = self.start(line)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-2000:]
        return output

    def produced(self) -> None:
        self.finish(self.producing())

    def steps(self) -> int:
        metrics = self.run / "metrics" / "metrics.jsonl"
        return metrics.read_text().count('"step"') if metrics.exists() else 0

    def until(self, process: subprocess.Popen[str], seen: Callable[[], bool], patience_s: float = 120) -> None:
        """Waits for something to be seen, or for the process to end."""
        deadline = time.monotonic() + patience_s
        while process.poll() is None and time.monotonic() < deadline and not seen():
            time.sleep(_POLL_S)

    def training_until(self, seen: Callable[[], bool]) -> subprocess.Popen[str]:
        """A trainer on finished blocks, at the moment at which something was seen."""
        self.produced()
        process = self.start(self.training())
        self.until(process, seen)
        return process


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> int:
    if process.poll() is None:
        os.kill(process.pid, number)
    process.communicate(timeout=120)
    return process.returncode


def damage(path: Path, how: str, rng: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    if how == "cut short":
        del raw[len(raw) // 2 :]
    else:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
