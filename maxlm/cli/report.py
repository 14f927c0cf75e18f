"""`maxlm report --workdir=RUN`, or of whole sweeps: `maxlm report --sweep=SWEEP`"""

import argparse
import dataclasses
import json
from collections.abc import Sequence

from etils import epath

from maxlm.config import Overrides, freeze
from maxlm.errors import DataError
from maxlm.paths import as_path, read_json, write_atomic, write_json
from maxlm.report import sweep
from maxlm.report.collect import collect_corpus, collect_run
from maxlm.report.goodput import goodput_of
from maxlm.report.html import page
from maxlm.scaling.decide import fit_all, recommend
from maxlm.scaling.kinds import Settings
from maxlm.scaling.points import RESULTS_FILE, read_points
from maxlm.scaling.results import RUNS
from maxlm.scaling.sweep import Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--workdir", metavar="RUN", help="folder of the run")
    which.add_argument(
        "--sweep", metavar="SWEEP", action="append",
        help="folder of a sweep: all its runs, fits and what they recommend; given again, several on one page",
    )  # fmt: skip
    parser.add_argument("--out", metavar="FILE", help="where to write the page; report.html in that folder by default")


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    if arguments.sweep:
        _of_sweeps([as_path(folder) for folder in arguments.sweep], arguments.out)
        return
    workdir = as_path(arguments.workdir)
    if not (workdir / "journal.jsonl").exists():
        raise DataError(f"{workdir}: not a run (no journal.jsonl)")
    record = collect_run(workdir)
    out = as_path(arguments.out) if arguments.out else workdir / "report.html"
    write_atomic(out, page(record, collect_corpus(record.config["data"]["dataset"]), goodput_of(workdir)))
    print(out)


def _of_sweeps(folders: Sequence[epath.Path], to: str | None) -> None:
    parts = [_part(folder) for folder in folders]
    out = as_path(to) if to else folders[0] / "report.html"
    write_atomic(out, sweep.page(parts))
    for part in parts:
        for what, why in part.recommended:
            print(f"{what}: {why}")
    print(out)


def _part(folder: epath.Path) -> sweep.Part:
    """All that a sweep's folder says, and the fits to it, which are kept beside it."""
    if not (folder / "status.json").exists():
        raise DataError(f"{folder}: not a sweep that has run (no status.json); maxlm sweep makes one")
    statuses = read_json(folder / "status.json", "status of the sweep")["runs"]
    done = [folder / RUNS / one["run"] for one in statuses if one["state"] == "done"]
    results = [json.loads(line) for line in (folder / RESULTS_FILE).read_text().splitlines()]
    fits, reasons, recommended = {}, {}, []
    if results:
        asked, points = (
            freeze(Sweep, read_json(folder / "sweep.json", "the sweep")),
            dataclasses.replace(read_points(folder), source=folder.name),
        )
        bounds = {name: (low, high) for name, (low, high) in asked.bounds.items()}
        fits, reasons = fit_all(points, Settings(targets=asked.targets, bounds=bounds, natural=asked.natural))
        recommended = recommend(points, fits)
    write_json(folder / "fits.json", fits)
    return sweep.Part(folder.name, statuses, results, [collect_run(run) for run in done], fits, reasons, recommended)
