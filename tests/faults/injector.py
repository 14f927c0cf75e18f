"""Injects faults into real runs, one after the other, and writes what came of them to docs/reliability.md.

    python -m tests.faults.injector [--only=WORDS] [--out=docs/reliability.md]

A small corpus of real documents, a producer and a trainer, each a process of its own as a person starts it. Every fault
begins with the same untouched folder; afterwards the same commands are given again, and what stands at the end is held
against a run that nothing happened to: parameters bit for bit, blocks byte by byte, uses document by document.
"""

import argparse
import dataclasses
import os
import random
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maxlm.report.collect import collect_run
from tests.data_pipeline.produce import made
from tests.faults.outcome import ledger_uses, page, params_of
from tests.processes.groups import by_hand, free_port
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


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> int:
    if process.poll() is None:
        os.kill(process.pid, number)
    process.communicate(timeout=120)
    return process.returncode


# Faults. Each returns, in words, what happened; the caller finishes the run and compares.


def trainer_killed(case: Case) -> str:
    case.produced()
    process = case.start(case.training())
    at = case.rng.randrange(1, 46)
    case.until(process, lambda: case.steps() >= at)
    time.sleep(case.rng.random() * 0.05)
    before = case.steps()
    kill(process)
    case.finish(case.training())
    return f"kill -9 after step {before}"


def trainer_killed_while_saving(case: Case) -> str:
    case.produced()
    process = case.start(case.training())
    folder = case.run / "checkpoints"
    case.until(process, lambda: folder.exists() and any("tmp" in path.name for path in folder.iterdir()))
    time.sleep(case.rng.random() * 0.02)
    kill(process)
    left = sum("tmp" in path.name for path in folder.iterdir())
    case.finish(case.training())
    return f"kill -9 while a checkpoint was written; {left} unfinished left behind"


def trainer_killed_while_publishing(case: Case) -> str:
    case.produced()
    process = case.start(case.training())
    folder = case.run / "checkpoints"
    case.until(process, lambda: folder.exists() and any(path.name.isdigit() for path in folder.iterdir()))
    kill(process)
    case.finish(case.training())
    return "kill -9 in the moment in which a checkpoint was renamed"


def trainer_asked_to_stop(case: Case) -> str:
    case.produced()
    process = case.start(case.training())
    case.until(process, lambda: case.steps() >= 20)
    code = kill(process, signal.SIGTERM)
    stopped = collect_run(case.run).checkpoints[-1]
    case.finish(case.training())
    return f"SIGTERM: exit code {code}, saved after step {stopped}"


def producer_killed(case: Case) -> str:
    process = case.start(case.producing())
    time.sleep(0.5 + case.rng.random() * 1.5)
    kill(process)
    there = len(list((case.dataset / "blocks").glob("*/manifest.json")))
    case.produced()
    case.finish(case.training())
    return f"kill -9 with {there} of {BLOCKS} blocks finished"


def producer_killed_at_a_manifest(case: Case) -> str:
    process = case.start(case.producing())
    blocks = case.dataset / "blocks"
    case.until(process, lambda: any(blocks.glob("*/manifest.json*")))
    kill(process)
    case.produced()
    case.finish(case.training())
    return "kill -9 in the moment in which a manifest was written or renamed"


def both_killed(case: Case) -> str:
    producer, trainer = case.start(case.producing()), case.start(case.training())
    case.until(trainer, lambda: case.steps() >= 10)
    kill(producer)
    kill(trainer)
    case.produced()
    case.finish(case.training())
    return "kill -9 of both at once"


def _damage(path: Path, how: str, rng: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    if how == "cut short":
        del raw[len(raw) // 2 :]
    else:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)


def shard_damaged(how: str) -> Callable[[Case], str]:
    def fault(case: Case) -> str:
        case.produced()
        _damage(next((case.dataset / "blocks" / "block-00001").glob("*.array_record")), how, case.rng)
        trainer = case.start(case.training())
        case.until(trainer, lambda: (case.dataset / "damaged").exists())
        case.produced()
        output, _ = trainer.communicate(timeout=300)
        assert trainer.returncode == 0, output[-2000:]
        return f"a shard {how}: set aside by the trainer, made again by the producer, read"

    return fault


def manifest_deleted(case: Case) -> str:
    case.produced()
    (case.dataset / "blocks" / "block-00002" / "manifest.json").unlink()
    trainer = case.start(case.training())
    case.until(trainer, lambda: case.steps() >= 16)
    case.produced()
    output, _ = trainer.communicate(timeout=300)
    assert trainer.returncode == 0, output[-2000:]
    return "a manifest deleted: the block counts as unfinished, and is made again"


def checkpoint_damaged(how: str) -> Callable[[Case], str]:
    def fault(case: Case) -> str:
        case.produced()
        process = case.start(case.training())
        case.until(process, lambda: case.steps() >= 40)
        kill(process)
        newest = case.run / "checkpoints" / str(collect_run(case.run).checkpoints[-1])
        files = sorted((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        _damage(files[-1] if how != "description" else newest / "meta" / "metadata", how, case.rng)
        output = case.finish(case.training())
        assert output.count("WARNING") == 1, output[-2000:]
        return f"the newest checkpoint damaged ({how}): set aside, the one before it used"

    return fault


def disk_full(case: Case) -> str:
    case.produced()
    case.run.mkdir()
    mount = f"mount -t tmpfs -o size=700k none {case.run}"
    keep = f"cp -r {case.run} {case.folder / 'kept'}"
    line = shlex.join(case.training())
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {{ {line}; code=$?; {keep}; exit $code; }}"],
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "disk full" in done.stderr, done.stderr
    case.run.rmdir()
    shutil.copytree(case.folder / "kept", case.run)
    case.finish(case.training())
    return "disk full at a checkpoint: one line and exit code 2; with space again the run goes on"


def read_only_folder(case: Case) -> str:
    case.produced()
    process = case.start(case.training())
    case.until(process, lambda: case.steps() >= 20)
    kill(process)
    mount = f"mount --bind {case.run / 'checkpoints'} {case.run / 'checkpoints'} && "
    mount += f"mount -o remount,ro,bind {case.run / 'checkpoints'}"
    line = shlex.join(case.training())
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && {line}"],
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "a checkpoint can't be written" in done.stderr, done.stderr
    case.finish(case.training())
    return "checkpoints on a read-only file system: one line and exit code 2; writable again, it goes on"


def gradient_not_finite(case: Case) -> str:
    """One batch's weights are NaN on their way to the step."""
    case.produced()
    poisoning = """
import numpy as np
import maxlm.train.run as run
made, calls = run.make_train_step, iter(range(10**9))

def make(*arguments, **options):
    step = made(*arguments, **options)
    def poisoned(state, batch, *limits):
        bad = batch._replace(weights=batch.weights * np.nan)
        return step(state, bad if next(calls) == 20 else batch, *limits)
    return poisoned

run.make_train_step = make
"""
    line = case.training("--config.watch.not_finite=warn")
    line[2] = poisoning + line[2].replace("; ", "\n")
    output = case.finish(line)
    assert "step 21: loss is nan" in output, output[-2000:]
    assert all(np.isfinite(leaf).all() for leaf in params_of(case.run))
    return "a NaN in one gradient: told, not applied; the run goes on without that update"


def one_of_two_killed(case: Case) -> str:
    """Two processes of one device each, beside a pair that nothing happens to."""
    case.produced()

    def pair(workdir: Path) -> list[subprocess.Popen[str]]:
        whole, port = dataclasses.replace(case, folder=workdir), free_port()
        shutil.copytree(case.dataset, whole.dataset, dirs_exist_ok=True)
        line = whole.training("--config.mesh.fsdp=2")
        variables = [{**environment(), **by_hand(port, index)} for index in range(2)]
        return [
            subprocess.Popen(line, env=v, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for v in variables
        ]

    clean = case.folder / "clean"
    for process in pair(clean):
        process.communicate(timeout=300)
    broken = dataclasses.replace(case, folder=case.folder / "broken")
    processes = pair(broken.folder)
    case.until(processes[0], lambda: broken.steps() >= 20)
    kill(processes[1])
    started = time.monotonic()
    processes[0].communicate(timeout=120)
    took, code = time.monotonic() - started, processes[0].returncode
    for process in pair(broken.folder):
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-2000:]
    assert all(np.array_equal(a, b) for a, b in zip(params_of(broken.run), params_of(clean / "run"), strict=True))
    case.finish(case.training())  # for the comparison with one process
    return (
        f"one of two killed: the other left after {took:.1f} s with {code}; both again: the bits of a pair left alone"
    )


def clock_backwards(case: Case) -> str:
    """The wall clock jumps back ten minutes every few readings, in both processes."""
    jumping = (
        "import time, itertools; real, n = time.time, itertools.count()\n"
        "time.time = lambda: real() - 600 * (next(n) // 5)\n"
    )
    for line in (case.producing(), case.training()):
        line[2] = jumping + line[2].replace("; ", "\n")
        case.finish(line)
    return "the clock steps back by ten minutes, again and again"


_NOT_APPLIED = ("a NaN in a gradient",)  # an update less: other parameters than without the fault
FAULTS: list[tuple[str, Callable[[Case], str]]] = [
    *[(f"trainer killed at a random instant ({i + 1})", trainer_killed) for i in range(8)],
    ("trainer killed during a checkpoint", trainer_killed_while_saving),
    ("trainer killed at a checkpoint's publication", trainer_killed_while_publishing),
    ("trainer asked to stop", trainer_asked_to_stop),
    *[(f"producer killed at a random instant ({i + 1})", producer_killed) for i in range(8)],
    ("producer killed at a manifest", producer_killed_at_a_manifest),
    ("producer and trainer killed", both_killed),
    ("shard cut short", shard_damaged("cut short")),
    ("shard with a bit flipped", shard_damaged("with a bit flipped")),
    ("manifest deleted", manifest_deleted),
    ("checkpoint array cut short", checkpoint_damaged("cut short")),
    ("checkpoint array with a bit flipped", checkpoint_damaged("a bit flipped")),
    ("checkpoint's description with a bit flipped", checkpoint_damaged("description")),
    ("disk full", disk_full),
    ("read-only checkpoint folder", read_only_folder),
    ("clock stepping backwards", clock_backwards),
    ("one of two processes killed", one_of_two_killed),
    ("a NaN in a gradient", gradient_not_finite),
]


def compare(case: Case, clean: Case) -> dict[str, bool]:
    """What equals the run that nothing happened to."""
    ours, theirs = params_of(case.run), params_of(clean.run)
    return {
        "parameters": all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)),
        "blocks": made.block_bytes(case.dataset) == made.block_bytes(clean.dataset),
        "ledger": np.array_equal(ledger_uses(case.dataset), ledger_uses(clean.dataset)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name holds these words")
    parser.add_argument("--out", help="where to write the table; standard output by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        made.dataset(base / "data")
        clean = Case(Path(folder) / "clean", random.Random(SEED))
        shutil.copytree(base, clean.folder)
        clean.produced()
        clean.finish(clean.training())
        rows = []
        for number, (name, fault) in enumerate(FAULTS):
            if arguments.only not in name:
                continue
            case = Case(Path(folder) / f"case-{number}", random.Random(SEED + number))
            shutil.copytree(base, case.folder)
            happened = fault(case)
            undone = sum(len(stretch) for stretch in collect_run(case.run).undone)
            equal = compare(case, clean)
            if name in _NOT_APPLIED:
                del equal["parameters"]
            rows.append((name, happened, undone, equal))
            print(name, "·", happened, "· steps done twice:", undone, "·", equal, flush=True)
            shutil.rmtree(case.folder)
    if arguments.out:
        Path(arguments.out).write_text(page(rows, BLOCKS, made.ROWS // BATCH))
    if broken := [name for name, _, _, equal in rows if not all(equal.values())]:
        raise SystemExit(f"not equal: {', '.join(broken)}")


if __name__ == "__main__":
    main()
