"""Faults of the trainer, its checkpoints and its machine. Each returns, in words, what happened, the run finished."""

import dataclasses
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maxlm.report.collect import collect_run
from tests.faults.case import Case, damage, kill
from tests.faults.outcome import params_of
from tests.processes.groups import by_hand, free_port
from tests.runs import ROOT, environment


def trainer_killed(case: Case) -> str:
    at = case.rng.randrange(1, 46)
    process = case.training_until(lambda: case.steps() >= at)
    time.sleep(case.rng.random() * 0.05)
    before = case.steps()
    kill(process)
    case.finish(case.training())
    return f"kill -9 after step {before}"


def trainer_killed_while_saving(case: Case) -> str:
    folder = case.run / "checkpoints"
    process = case.training_until(lambda: folder.exists() and any("tmp" in path.name for path in folder.iterdir()))
    time.sleep(case.rng.random() * 0.02)
    kill(process)
    left = sum("tmp" in path.name for path in folder.iterdir())
    case.finish(case.training())
    return f"kill -9 while a checkpoint was written; {left} unfinished left behind"


def trainer_killed_while_publishing(case: Case) -> str:
    folder = case.run / "checkpoints"
    process = case.training_until(lambda: folder.exists() and any(path.name.isdigit() for path in folder.iterdir()))
    kill(process)
    case.finish(case.training())
    return "kill -9 in the moment in which a checkpoint was renamed"


def trainer_asked_to_stop(case: Case) -> str:
    process = case.training_until(lambda: case.steps() >= 20)
    code = kill(process, signal.SIGTERM)
    stopped = collect_run(case.run).checkpoints[-1]
    case.finish(case.training())
    return f"SIGTERM: exit code {code}, saved after step {stopped}"


def both_killed(case: Case) -> str:
    producer, trainer = case.start(case.producing()), case.start(case.training())
    case.until(trainer, lambda: case.steps() >= 10)
    kill(producer)
    kill(trainer)
    case.produced()
    case.finish(case.training())
    return "kill -9 of both at once"


def checkpoint_damaged(how: str) -> Callable[[Case], str]:
    def fault(case: Case) -> str:
        process = case.training_until(lambda: case.steps() >= 40)
        kill(process)
        newest = case.run / "checkpoints" / str(collect_run(case.run).checkpoints[-1])
        files = sorted((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        damage(files[-1] if how != "description" else newest / "meta" / "metadata", how, case.rng)
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
    process = case.training_until(lambda: case.steps() >= 20)
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
