"""From a run's folder to tables: reads files only, so that it works on a laptop beside a run on a cluster."""

import json
from dataclasses import dataclass, field
from typing import Any

from etils import epath

from maxlm.journal import Journal, without_undone
from maxlm.paths import PathLike, as_path, read_json

# Metrics of memory, which a run has either for its devices or, on a CPU, for its process; of the first host.
MEMORY = {
    "memory/device_gib": "memory of the fullest device",
    "memory/device_peak_gib": "memory of the fullest device, at the peak",
    "memory/process_gib": "memory of the process (no device of its own)",
    "memory/process_peak_gib": "memory of the process, at the peak",
}


@dataclass
class BlockRecord:
    """One block that was trained on."""

    block: int
    step: int  # at its end
    validation_loss: float | None = None
    undone: bool = False  # by a rollback, or by a crash before its checkpoint was published


@dataclass
class RunRecord:
    """All that a run's folder says of it."""

    workdir: epath.Path
    config: dict[str, Any]
    state: str
    step: int = 0
    total_steps: int = 0
    blocks: list[BlockRecord] = field(default_factory=list)
    blocks_before: int = 0  # of the run that this one branched from
    begins_trained: int | None = None  # step at which it took over a trained model; None: it began with nothing
    stages: list[dict[str, Any]] = field(default_factory=list)  # as the journal told their beginnings
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)  # training, what stands
    validation: list[dict[str, float]] = field(default_factory=list)
    undone: list[list[dict[str, float]]] = field(default_factory=list)  # training, stretches that were undone
    hosts: list[dict[str, Any]] = field(default_factory=list)  # step times of every host, where there are several
    alarms: list[dict[str, Any]] = field(default_factory=list)

    @property
    def blocks_done(self) -> int:
        return self.blocks_before + sum(not block.undone for block in self.blocks)


def collect_run(workdir: PathLike) -> RunRecord:
    """Reads config, journal, metrics and the list of checkpoints of a run.

    Raises:
      DataError: a file is missing or damaged.
    """
    workdir = as_path(workdir)
    record = RunRecord(workdir, read_json(workdir / "config.json", "config of the run"), "not started")
    for event in without_undone(Journal(workdir / "journal.jsonl").read()):
        _apply(record, event)
    folder = workdir / "checkpoints"
    record.checkpoints = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.exists() else []
    _read_metrics(record, workdir / "metrics" / "metrics.jsonl")
    record.hosts = read_lines(workdir / "metrics" / "hosts.jsonl")
    return record


def _apply(record: RunRecord, event: dict[str, Any]) -> None:
    name = event["event"]
    if name in ("run_started", "resumed"):
        record.state, record.step = "training, or stopped without a word", event["step"]
        record.total_steps = event["total_steps"]
        _undo_blocks(record, event["step"])
    elif name == "branched":
        record.blocks_before, record.begins_trained = event["blocks_done"], event["step"]
    elif name in ("imported", "resized"):
        record.begins_trained = 0
    elif name == "stage_started":
        record.stages.append(event)
    elif name == "block_finished":
        record.blocks.append(BlockRecord(event["block"], event["step"]))
        record.step = event["step"]
    elif name == "evaluated":
        for block in [block for block in record.blocks if block.step == event["step"]][-1:]:
            block.validation_loss = event["validation/loss"]
    elif name == "checkpoint":
        record.step = event["step"]
    elif name == "rollback":
        record.state, record.step = f"rolled back to block {event['to_block']}", event["to_step"]
        record.rollbacks.append(event)
        record.skipped = sorted({b for b in record.skipped if b <= event["to_block"]} | set(event["skipped"]))
        _undo_blocks(record, event["to_step"])
    elif name == "alarm":
        record.alarms.append(event)
    elif name == "stuck":
        record.state = f"nothing had happened for {event['silent_s']} s, while {event['doing']}"
    elif name == "run_finished":
        record.state = "finished"


def _undo_blocks(record: RunRecord, step: int) -> None:
    record.stages = [stage for stage in record.stages if stage["step"] <= step]
    for block in record.blocks:
        block.undone = block.undone or block.step > step


def read_lines(path: PathLike) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line; a line that a kill cut short is left out. No file: no lines."""
    path, found = as_path(path), []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            found.append(values)
    return found


def _read_metrics(record: RunRecord, path: epath.Path) -> None:
    """Sorts metrics into what stands and what was undone. Each start of a process says after which step it begins."""
    for values in read_lines(path):
        if "begins_after" in values:
            _undo_metrics(record, values["begins_after"])
        elif "step" in values:
            (record.metrics if "loss" in values else record.validation).append(values)
    if record.state.startswith("rolled back"):
        _undo_metrics(record, record.step)


def _undo_metrics(record: RunRecord, step: int) -> None:
    if undone := [line for line in record.metrics if line["step"] > step]:
        record.undone.append(undone)
    record.metrics = [line for line in record.metrics if line["step"] <= step]
    record.validation = [line for line in record.validation if line["step"] <= step]


def collect_corpus(dataset: PathLike) -> dict[str, Any] | None:
    """What the data process wrote about the corpus before and after cleaning; None where it isn't at hand."""
    path = as_path(dataset) / "corpus" / "report.json"
    return read_json(path, "report of the corpus") if path.exists() else None
