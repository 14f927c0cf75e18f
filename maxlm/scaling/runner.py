"""Runs the jobs of a sweep, several at a time, each as a process; what is done already is left alone."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from etils import epath

from maxlm.scaling import results
from maxlm.scaling.sweep import Job, Sweep

# What starts a process elsewhere and waits for it; its exit status is the process's.
LAUNCHERS: dict[str, tuple[str, ...]] = {
    "local": (),
    "slurm": ("srun", "--job-name=maxlm-sweep"),
    "ray": ("ray", "job", "submit"),
}
_POLL_S = 0.2


@dataclass
class Status:
    """Where a job stands."""

    job: Job
    state: str  # waiting, running, done, failed, blocked
    progress: float = 0.0
    note: str = ""


def run_all(
    sweep: Sweep, jobs: Sequence[Job], folder: epath.Path, tell: Callable[[Sequence[Status]], None]
) -> list[Status]:
    """Runs what is not done yet, trunks before their branches; results are written after every run.

    Args:
      folder: of the sweep.
      tell: called with the state of all jobs, a few times a second.
    """
    statuses = {job.name: Status(job, "waiting") for job in jobs}
    for status in statuses.values():
        if results.is_done(results.folder_of(folder, status.job), status.job):
            status.state, status.progress = "done", 1.0
    running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
    try:
        while True:
            _reap(running, statuses, folder)
            _block(statuses)
            _start(sweep, running, statuses, folder)
            for name in running:
                statuses[name].progress = results.progress(
                    results.folder_of(folder, statuses[name].job), statuses[name].job
                )
            tell(list(statuses.values()))
            if not running:
                break
            time.sleep(_POLL_S)
    finally:  # an interrupt reaches the runs as well; they end, and the same command goes on
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.wait()
    _write(statuses, folder)
    return list(statuses.values())  # fmt: skip


def _reap(running: dict[str, Any], statuses: dict[str, Status], folder: epath.Path) -> None:
    for name, (process, _) in list(running.items()):
        if (code := process.poll()) is None:
            continue
        del running[name]
        status, where = statuses[name], results.folder_of(folder, statuses[name].job)
        if code == 0 and results.is_done(where, status.job):
            status.state, status.progress = "done", 1.0
        else:
            status.state, status.note = "failed", _last_line(where / results.LOG) or f"exit code {code}"
        _write(statuses, folder)


def _block(statuses: dict[str, Status]) -> None:
    """Branches of a trunk that failed cannot run."""
    for status in statuses.values():
        trunk = statuses.get(status.job.trunk)
        if status.state == "waiting" and trunk is not None and trunk.state == "failed":
            status.state, status.note = "blocked", f"{trunk.job.name} failed"


def _start(sweep: Sweep, running: dict[str, Any], statuses: dict[str, Status], folder: epath.Path) -> None:
    for status in statuses.values():
        if len(running) >= sweep.workers:
            return
        trunk = statuses.get(status.job.trunk)
        if status.state != "waiting" or (trunk is not None and trunk.state != "done"):
            continue
        slot = next(i for i in itertools.count() if i not in {taken for _, taken in running.values()})
        running[status.job.name] = (_launch(sweep, status.job, folder, slot), slot)
        status.state = "running"


def _launch(sweep: Sweep, job: Job, folder: epath.Path, slot: int) -> subprocess.Popen[bytes]:
    where = results.folder_of(folder, job)
    where.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **sweep.env}
    if sweep.devices:
        environment["CUDA_VISIBLE_DEVICES"] = sweep.devices[slot % len(sweep.devices)]
    with open(where / results.LOG, "ab") as log:
        return subprocess.Popen(
            command(sweep, job, folder), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
        )


def command(sweep: Sweep, job: Job, folder: epath.Path) -> list[str]:
    """The whole command line of a job."""
    launcher = (*LAUNCHERS[sweep.runner], *sweep.runner_arguments) if LAUNCHERS[sweep.runner] else ()
    if sweep.runner == "ray":  # starts a job in a folder and an environment of its own
        launcher += ("--", "env", f"--chdir={os.getcwd()}", *(f"{name}={value}" for name, value in sweep.env.items()))
    branch = []
    if job.trunk:
        trunk = folder / results.RUNS / job.trunk
        step = results.step_after(trunk, job.branch_block)
        branch = [f"--from={trunk}", f"--from-step={step}", "--stage=decay"]
    where = f"--workdir={results.folder_of(folder, job)}"
    return [*launcher, sys.executable, "-m", "maxlm.cli.main", "train", where, *job.arguments, *branch]


def _write(statuses: dict[str, Status], folder: epath.Path) -> None:
    done = [status.job for status in statuses.values() if status.state == "done" and not status.job.is_trunk]
    results.write_results(folder, [results.result(results.folder_of(folder, job), job) for job in done])


def _last_line(log: epath.Path) -> str:
    lines = (
        [line for line in log.read_bytes().decode(errors="replace").splitlines() if line.strip()]
        if log.exists()
        else []
    )
    return lines[-1][:200] if lines else ""
