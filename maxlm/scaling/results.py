"""What the runs of a sweep came to, read from their folders."""

import json
import math
from typing import Any

from etils import epath

from maxlm.blocks.manifest import load_dataset
from maxlm.config import freeze
from maxlm.journal import Journal
from maxlm.models import cost
from maxlm.models.config import ModelConfig
from maxlm.paths import as_path, read_json, write_atomic
from maxlm.scaling.points import RESULTS_FILE
from maxlm.scaling.sweep import Job

RUNS, LOG = "runs", "log.txt"
_PREFIX = "validation/"


def folder_of(sweep_folder: epath.Path, job: Job) -> epath.Path:
    return sweep_folder / RUNS / job.name


def is_done(folder: epath.Path, job: Job) -> bool:
    """Whether the run was trained to its end, and on as many blocks as it should be."""
    if not (folder / "journal.jsonl").exists():
        return False
    events = Journal(folder / "journal.jsonl").read()
    return bool(events) and events[-1]["event"] == "run_finished" and events[-1]["blocks"] == job.blocks


def step_after(folder: epath.Path, blocks: int) -> int:
    """The step at which a run has read so many blocks; it began with the first one and left none out."""
    steps = {e["block"]: e["step"] for e in Journal(folder / "journal.jsonl").read() if e["event"] == "block_finished"}
    return steps[blocks - 1]


def progress(folder: epath.Path, job: Job) -> float:
    """Share of the blocks that a run has read."""
    if not (folder / "journal.jsonl").exists():
        return 0.0
    done = sum(event["event"] == "block_finished" for event in Journal(folder / "journal.jsonl").read())
    return min((job.branch_block + done) / job.blocks, 1.0)


def result(folder: epath.Path, job: Job) -> dict[str, Any]:
    """A finished run as a row for `maxlm fit`: what it was, and its held-out loss, over all and by domain."""
    config = read_json(folder / "config.json", "config of the run")
    model = freeze(ModelConfig, config["model"], "model")
    info = load_dataset(as_path(config["data"]["dataset"]) / "dataset.json")
    events = Journal(folder / "journal.jsonl").read()
    step = events[-1]["step"]
    tokens = step * config["train"]["batch"] * info.seq_len
    found = {
        "run": job.name, "size": job.size, "data": job.data.name,
        "seed": job.seed, "params": cost.num_params(model), "tokens": tokens, "blocks": job.blocks,
        "flops": 6 * cost.num_params(model) * tokens,
        "model_flops": cost.train_flops_per_token(model, info.seq_len) * tokens,
        "learning_rate": config["optimizer"]["learning_rate"], "batch": config["train"]["batch"] * info.seq_len,
    }  # fmt: skip
    found |= {"order": job.data.order} if job.data.order else {}
    found |= {f"share/{domain}": share for domain, share in job.data.shares.items()}
    evaluated = [event for event in events if event["event"] == "evaluated"]
    values = evaluated[-1] if evaluated else {}
    for key, value in values.items():
        if key.startswith(_PREFIX + "loss"):
            found[key.removeprefix(_PREFIX)] = value
    found["finite"] = math.isfinite(found.get("loss", math.nan))
    return found


def write_results(sweep_folder: epath.Path, rows: list[dict[str, Any]]) -> None:
    """All finished runs, a line each, as `maxlm fit --data=SWEEP` reads them; those that diverged in a file apart."""
    for name, kept in ((RESULTS_FILE, True), ("diverged.jsonl", False)):
        lines = [json.dumps(row) for row in rows if row["finite"] is kept]
        write_atomic(sweep_folder / name, "".join(line + "\n" for line in lines))
