"""Injects faults into real runs, one after the other, and writes what came of them to docs/reliability.md.

    python -m tests.faults.injector [--only=WORDS,…] [--out=docs/reliability.md]

A small corpus of real documents, a producer and a trainer, each a process of its own as a person starts it. Every fault
begins with the same untouched folder; afterwards the same commands are given again, and what stands at the end is held
against a run that nothing happened to: parameters bit for bit, blocks byte by byte, uses document by document.
"""

import argparse
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from maxlm.report.collect import collect_run
from tests.data_pipeline.produce import made
from tests.faults.case import SEED, Case
from tests.faults.data_faults import (
    description_deleted,
    disk_full_for,
    index_damaged,
    manifest_deleted,
    producer_asked_to_stop,
    producer_killed,
    producer_killed_at_a_manifest,
    second_producer,
    shard_damaged,
)
from tests.faults.outcome import ledger_uses, params_of, row, updated
from tests.faults.training_faults import (
    both_killed,
    checkpoint_damaged,
    clock_backwards,
    disk_full,
    gradient_not_finite,
    one_of_two_killed,
    read_only_folder,
    trainer_asked_to_stop,
    trainer_killed,
    trainer_killed_while_publishing,
    trainer_killed_while_saving,
)

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
    ("producer asked to stop", producer_asked_to_stop),
    ("second producer", second_producer),
    ("dataset.json deleted", description_deleted),
    ("index of documents damaged", index_damaged),
    ("producer's disk full (blocks)", disk_full_for("blocks", "300k")),
    ("producer's disk full (ledger)", disk_full_for("ledger", "12k")),
    ("trainer's disk full", disk_full),
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
    parser.add_argument("--only", default="", help="faults whose name holds these words, or these, …")
    parser.add_argument("--out", help="page whose table gets these rows; the others and the text stay")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        made.dataset(base / "data")
        clean = Case(Path(folder) / "clean", random.Random(SEED))
        shutil.copytree(base, clean.folder)
        clean.produced()
        clean.finish(clean.training())
        rows, broken = [], []
        for number, (name, fault) in enumerate(FAULTS):
            if not any(words in name for words in arguments.only.split(",")):
                continue
            case = Case(Path(folder) / f"case-{number}", random.Random(SEED + number))
            shutil.copytree(base, case.folder)
            happened = fault(case)
            undone = sum(len(stretch) for stretch in collect_run(case.run).undone)
            equal = compare(case, clean)
            if name in _NOT_APPLIED:
                del equal["parameters"]
            rows.append(row(name, happened, undone, equal))
            broken += [name] * (not all(equal.values()))
            print(name, "·", happened, "· steps done twice:", undone, "·", equal, flush=True)
            shutil.rmtree(case.folder)
    if arguments.out:
        out = Path(arguments.out)
        out.write_text(updated(out.read_text(), rows))
    if broken:
        raise SystemExit(f"not equal: {', '.join(broken)}")


if __name__ == "__main__":
    main()
