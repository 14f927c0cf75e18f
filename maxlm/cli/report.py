"""`maxlm report --workdir=RUN`"""

import argparse

from maxlm.config import Overrides
from maxlm.errors import DataError
from maxlm.paths import as_path, write_atomic
from maxlm.report.collect import collect_corpus, collect_run
from maxlm.report.goodput import goodput_of
from maxlm.report.html import page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--out", metavar="FILE", help="where to write the page; RUN/report.html by default")


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    workdir = as_path(arguments.workdir)
    if not (workdir / "journal.jsonl").exists():
        raise DataError(f"{workdir}: not a run (no journal.jsonl)")
    record = collect_run(workdir)
    out = as_path(arguments.out) if arguments.out else workdir / "report.html"
    write_atomic(out, page(record, collect_corpus(record.config["data"]["dataset"]), goodput_of(workdir)))
    print(out)
