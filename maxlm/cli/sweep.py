"""`maxlm sweep --sweep=FILE --workdir=SWEEP`"""

import argparse
import signal
from collections.abc import Callable, Sequence

from etils import epath
from rich.console import Console
from rich.live import Live
from rich.table import Table

from maxlm import config as configs
from maxlm.config import Overrides
from maxlm.errors import UserError
from maxlm.paths import as_path, exclusive, write_json
from maxlm.scaling.runner import Status, run_all
from maxlm.scaling.sweep import Job, Sweep, jobs, saved_share

_MARKS = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "bold red", "blocked": "red"}
_SHOWN = 40  # rows of the live table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sweep", required=True, metavar="FILE[:ARGS]", help="a sweep file, e.g. configs/sweeps/x.py")
    parser.add_argument("--workdir", required=True, metavar="SWEEP", help="folder of the sweep; the same one goes on")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and stop")
    parser.epilog = (
        "Any key of the sweep file can be set: --config.workers=4. Give the same command again to go on: runs that are "
        "done stay. Then maxlm fit --data=SWEEP and maxlm report --sweep=SWEEP."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    sweep = configs.load(arguments.sweep, overrides, Sweep)
    listed, folder, console = jobs(sweep), as_path(arguments.workdir), Console(highlight=False)
    console.print(_summary(sweep, listed), soft_wrap=True)
    if arguments.dry_run:
        for job in listed:
            console.print(f"{job.name}: {' '.join(job.arguments)}", soft_wrap=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupted)  # as Ctrl-C: the runs are stopped too, and go on with the same command
    with exclusive(folder / ".lock", f"{folder}: this sweep is running already"):
        write_json(folder / "sweep.json", configs.to_dict(sweep))
        statuses = _run(sweep, listed, folder, console)
    count = {state: sum(s.state == state for s in statuses) for state in _MARKS}
    console.print(
        f"{count['done']} of {len(statuses)} runs done; results in {folder / 'results.jsonl'}", soft_wrap=True
    )
    if count["failed"]:
        first = next(s for s in statuses if s.state == "failed")
        raise UserError(
            f"{count['failed']} runs failed, {count['blocked']} could not start; {first.job.name}: {first.note} "
            f"(see its log.txt in {folder / 'runs' / first.job.name}); mend it and give the same command again"
        )


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _summary(sweep: Sweep, listed: list[Job]) -> str:
    trained = sum(job.blocks - job.branch_block for job in listed)
    text = f"{len(listed)} runs, {trained} blocks to train on, {sweep.workers} at a time ({sweep.runner})"
    return text + (f"; branching saves {saved_share(sweep):.0%} of the blocks" if sweep.branch else "")


def _run(sweep: Sweep, listed: list[Job], folder: epath.Path, console: Console) -> list[Status]:
    if not console.is_terminal:
        return run_all(sweep, listed, folder, _Kept(folder, _Lines(console)))
    with Live(console=console, refresh_per_second=4) as live:
        return run_all(sweep, listed, folder, _Kept(folder, lambda statuses: live.update(_table(statuses))))


class _Kept:
    """Keeps status.json as things are, so that a report can be made at any time, and tells further."""

    def __init__(self, folder: epath.Path, tell: Callable[[Sequence[Status]], None]):
        self.folder, self.tell, self.written = folder, tell, None

    def __call__(self, statuses: Sequence[Status]) -> None:
        listing = [{"run": s.job.name, "state": s.state, "note": s.note} for s in statuses]
        if listing != self.written:
            write_json(self.folder / "status.json", {"runs": listing})
            self.written = listing
        self.tell(statuses)


class _Lines:
    """Says on a line of its own what has changed, where there is no terminal to redraw."""

    def __init__(self, console: Console):
        self.console, self.said = console, {}

    def __call__(self, statuses: Sequence[Status]) -> None:
        for status in statuses:
            if self.said.get(status.job.name, "waiting") != status.state:
                self.console.print(f"{status.job.name}: {status.state} {status.note}".rstrip(), soft_wrap=True)
            self.said[status.job.name] = status.state


def _table(statuses: Sequence[Status]) -> Table:
    table = Table(
        "run", "state", "done", "", title=f"{sum(s.state == 'done' for s in statuses)} of {len(statuses)} done"
    )
    order = list(_MARKS)
    first = sorted(statuses, key=lambda s: {"running": 0, "failed": 1}.get(s.state, 2 + order.index(s.state)))
    for status in first[:_SHOWN]:
        mark = _MARKS[status.state]
        table.add_row(status.job.name, f"[{mark}]{status.state}[/]", f"{status.progress:.0%}", status.note)
    if len(first) > _SHOWN:
        table.add_row(f"… {len(first) - _SHOWN} more", "", "", "")
    return table
