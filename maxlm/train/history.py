"""What the journal of a run says: which blocks are left out, and rolling back to a block.

Events: imported, run_started, resumed, branched, stage_started, block_started, block_finished, checkpoint, verified,
checkpoint_damaged, evaluated, rollback, stopped, run_finished. Lines are only added; a rollback is one more line, and
what came after its target counts as undone.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from maxlm.blocks.manifest import load_dataset
from maxlm.blocks.reader import ReaderPosition, report_progress
from maxlm.errors import CheckpointError, UserError
from maxlm.journal import Journal
from maxlm.paths import PathLike, as_path, is_local
from maxlm.train.checkpoint import Checkpoints, Meta, Position


def journal_of(workdir: PathLike, writes: bool = True) -> Journal:
    return Journal(as_path(workdir) / "journal.jsonl", writes)


def reader_name(workdir: PathLike) -> str:
    """The name by which the data process knows this run."""
    path = as_path(workdir)
    return f"{path.name or 'run'}-{hashlib.sha256(os.fspath(path).encode()).hexdigest()[:8]}"


def skipped_blocks(journal: Journal) -> set[int]:
    """Blocks that the run leaves out."""
    skipped: set[int] = set()
    for event in journal.read():
        if event["event"] == "rollback":
            # a rollback to before a block that was left out puts it back, unless it is left out again
            skipped = {block for block in skipped if block <= event["to_block"]} | set(event["skipped"])
    return skipped


def trained_blocks(journal: Journal, step: int | None = None) -> list[int]:
    """Blocks that the parameters of `step` (the present ones by default) were trained on, in order.

    What a rollback or a crash undid is left out.
    """
    finished: list[tuple[int, int]] = []
    for event in journal.read():
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
    for event in journal.read():
        if event["event"] == "stage_started":
            began[event["stage"]] = event["step"]
        elif event["event"] in ("rollback", "resumed", "run_started"):
            stands_at = event["to_step"] if event["event"] == "rollback" else event["step"]
            began = {stage: first for stage, first in began.items() if first <= stands_at}
    return {stage: first for stage, first in began.items() if first <= step}


def oldest_block(checkpoints: Checkpoints, block: int) -> int:
    """The first block that a run at `block` would read again if it went back to its oldest checkpoint."""
    return min([block, *(meta.position.block for _, meta in islice(_readable(checkpoints), 1))])


@dataclass(frozen=True)
class Rollback:
    """What a rollback does, for showing before and after."""

    to_block: int
    from_step: int
    to_step: int
    undone_steps: tuple[int, ...]  # checkpoints set aside
    skipped: tuple[int, ...]


def plan_rollback(checkpoints: Checkpoints, to_block: int, skip: bool, skipped: set[int]) -> Rollback:
    """The checkpoint after block `to_block` (-1: the very start), and what lies beyond it.

    Raises:
      CheckpointError: no checkpoint stands at the end of that block.
    """
    steps, to_block = checkpoints.steps(), max(to_block, -1)
    target = 0 if to_block < 0 else _step_after(to_block, checkpoints)
    undone = tuple(step for step in steps if step > target)
    # With those that were left out before it: the block to leave out is the one that was read after `to_block`.
    left_out = tuple(range(to_block + 1, next_block(to_block + 1, skipped) + 1)) if skip else ()
    return Rollback(to_block, steps[-1] if steps else 0, target, undone, left_out)


def _step_after(block: int, checkpoints: Checkpoints) -> int:
    ends = {meta.position.finished_block: step for step, meta in _readable(checkpoints) if meta.position.batch == 0}
    if block not in ends:
        known = ", ".join(str(b) for b in sorted(ends) if b >= 0) or "none"
        raise CheckpointError(
            f"{checkpoints.folder}: no checkpoint after block {block}; there are ones after: {known} "
            "(--to-block=-1 goes back to the start)"
        )
    return ends[block]


def _readable(checkpoints: Checkpoints) -> Iterator[tuple[int, Meta]]:
    """All checkpoints but damaged ones, which a rollback is there to get away from."""
    for step in checkpoints.steps():
        try:
            yield step, checkpoints.meta(step)
        except CheckpointError:
            continue


def roll_back(workdir: PathLike, dataset: PathLike, plan: Rollback, alarm: str | None = None) -> None:
    """Carries a planned rollback out. Checkpoints beyond the target are moved to RUN/rolled_back/, not deleted.

    `alarm`: what a run says that rolls back by itself. The journal line comes last: killed before it, the command can
    be given again.
    """
    if not is_local(as_path(workdir)):
        raise UserError(f"{workdir}: rolling back a run in a bucket is not supported; copy it to a disk")
    load_dataset(as_path(dataset) / "dataset.json")  # the skip must reach the ledger that it is meant for
    journal = journal_of(workdir)
    aside = as_path(workdir) / "rolled_back" / f"{len(journal.read()):06d}"
    for step in plan.undone_steps:
        aside.mkdir(parents=True, exist_ok=True)
        shutil.move(as_path(workdir) / "checkpoints" / str(step), aside / str(step))
    _tell_ledger(workdir, dataset, plan)
    journal.append(
        "rollback",
        to_block=plan.to_block,
        from_step=plan.from_step,
        to_step=plan.to_step,
        skipped=list(plan.skipped),
        set_aside=str(aside) if plan.undone_steps else None,
        alarm=alarm,
    )


def _tell_ledger(workdir: PathLike, dataset: PathLike, plan: Rollback) -> None:
    """Writes for the data process which blocks this run now leaves out, so that it gives back their uses."""
    reader = reader_name(workdir)
    events = Journal(as_path(dataset) / "journal.jsonl")
    before = skipped_blocks(journal_of(workdir))
    for block in sorted(block for block in before if block > plan.to_block and block not in plan.skipped):
        events.append("unskip", block=block, reader=reader)
    for block in plan.skipped:
        events.append("skip", block=block, reader=reader)
    report_progress(dataset, reader, ReaderPosition(plan.to_block + 1, finished=False))


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
