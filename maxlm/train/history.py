"""What the journal of a run says: which blocks it was trained on, which it leaves out, where its stages began.

Events: imported, resized, run_started, resumed, branched, stage_started, block_started, block_finished, checkpoint,
verified, checkpoint_damaged, evaluated, rollback, rollback_undone, stopped, run_finished.
Lines are only added; a rollback is one more line, and what came after its target counts as undone.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from maxlm.blocks.manifest import load_dataset
from maxlm.errors import CheckpointError, UserError
from maxlm.journal import Journal, without_undone
from maxlm.paths import PathLike, as_path, exclusive
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.config import Config

_JOURNAL = "journal.jsonl"


def journal_of(workdir: PathLike, writes: bool = True) -> Journal:
    return Journal(as_path(workdir) / _JOURNAL, writes)


@contextmanager
def run_folder(workdir: PathLike, taken: str) -> Iterator[None]:
    """Holds a run's folder. One that was not there before goes again if a mistake ends all before the run began.

    Raises:
      UserError: another process holds it; the message is `taken`.
    """
    folder = as_path(workdir)
    is_new = not folder.exists()
    with exclusive(folder / ".lock", taken):
        try:
            yield
        except UserError:
            if is_new and not (folder / _JOURNAL).exists():
                with suppress(OSError):  # of threads that still write
                    folder.rmtree(missing_ok=True)
            raise


def standing(journal: Journal) -> list[dict[str, Any]]:
    """All events but rollbacks that were themselves undone, and what came between."""
    return without_undone(journal.read())


def reader_name(workdir: PathLike) -> str:
    """The name by which the data process knows this run."""
    path = as_path(workdir)
    return f"{path.name or 'run'}-{hashlib.sha256(os.fspath(path).encode()).hexdigest()[:8]}"


def skipped_blocks(journal: Journal) -> set[int]:
    """Blocks that the run leaves out."""
    skipped: set[int] = set()
    for event in standing(journal):
        if event["event"] == "rollback":
            # a rollback to before a block that was left out puts it back, unless it is left out again
            skipped = {block for block in skipped if block <= event["to_block"]} | set(event["skipped"])
    return skipped


def trained_blocks(journal: Journal, step: int | None = None) -> list[int]:
    """Blocks that the parameters of `step` (the present ones by default) were trained on, in order.

    What a rollback or a crash undid is left out.
    """
    finished: list[tuple[int, int]] = []
    for event in standing(journal):
        if event["event"] == "block_finished":
            finished.append((event["block"], event["step"]))
        elif event["event"] in ("rollback", "resumed", "run_started"):
            stands_at = event["to_step"] if event["event"] == "rollback" else event["step"]
            finished = [(block, step) for block, step in finished if step <= stands_at]
    return [block for block, end in finished if step is None or end <= step]


def next_block(block: int, skipped: set[int]) -> int:
    """`block`, or the first one after it that is not left out."""
    while block in skipped:
        block += 1
    return block


def blocks_from(first: int, count: int, skipped: set[int]) -> list[int]:
    """`count` blocks from `first` on that are not left out."""
    blocks: list[int] = []
    while len(blocks) < count:
        blocks.append(next_block(blocks[-1] + 1 if blocks else first, skipped))
    return blocks


def began_stages(journal: Journal, step: int) -> dict[str, int]:
    """The step at which each stage began that a run at `step` has entered; what was undone left out."""
    began: dict[str, int] = {}
    for event in standing(journal):
        if event["event"] == "stage_started":
            began[event["stage"]] = event["step"]
        elif event["event"] in ("rollback", "resumed", "run_started"):
            stands_at = event["to_step"] if event["event"] == "rollback" else event["step"]
            began = {stage: first for stage, first in began.items() if first <= stands_at}
    return {stage: first for stage, first in began.items() if first <= step}


def lr_scale(journal: Journal) -> float:
    """What the learning rate is multiplied with since rollbacks asked for it (maxlm rollback --lr-scale)."""
    scales: list[tuple[int, float]] = []
    for event in standing(journal):
        if event["event"] == "rollback":  # one to before another undoes that one's scale as well
            kept = [(step, scale) for step, scale in scales if step <= event["to_step"]]
            scales = [*kept, (event["to_step"], event.get("lr_scale", 1.0))]
    return math.prod(scale for _, scale in scales)


def oldest_block(checkpoints: Checkpoints, block: int) -> int:
    """The first block that a run at `block` would read again if it went back to its oldest checkpoint."""
    return min([block, *(meta.position.block for _, meta in islice(readable(checkpoints), 1))])


def readable(checkpoints: Checkpoints) -> Iterator[tuple[int, Meta]]:
    """All checkpoints but damaged ones, which a rollback is there to get away from."""
    for step in checkpoints.steps():
        try:
            yield step, checkpoints.meta(step)
        except CheckpointError:
            continue


def resume_position(position: Position, skipped: set[int]) -> Position:
    """Where to read on from a checkpoint's position, blocks left out meanwhile taken into account."""
    block = next_block(position.block, skipped)
    return Position(
        position.step,
        position.blocks_done,
        block,
        position.batch if block == position.block else 0,
        position.finished_block,
    )


def longest_known(workdir: PathLike, config: Config) -> int:
    """Tokens that the model of a run has read at once, or was made for; 0 where it is not known."""
    if config.model.max_positions:
        return config.model.max_positions
    dataset = as_path(config.data.dataset) if config.data.dataset else None
    known = [load_dataset(dataset / "dataset.json").seq_len] if dataset and (dataset / "dataset.json").exists() else []
    return max([*known, *(event.get("max_length", 0) for event in journal_of(workdir).read())], default=0)
