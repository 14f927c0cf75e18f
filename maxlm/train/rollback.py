"""Going back: to the checkpoint after a block, and from there on with the same data, without it, or with other data.

Nothing is deleted: checkpoints beyond the target are set aside in RUN/rolled_back until `prune`, so that a rollback can
itself be undone while no step has been trained on since.
"""

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epath

from maxlm.blocks.manifest import load_dataset
from maxlm.blocks.reader import BlockStore, ReaderPosition, reading_positions, report_progress, tell_skips
from maxlm.errors import CheckpointError, UserError
from maxlm.journal import Journal
from maxlm.paths import PathLike, as_path, is_local
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.history import (
    journal_of,
    next_block,
    readable,
    reader_name,
    skipped_blocks,
    standing,
    trained_blocks,
)

_FOLDER = "rolled_back"


@dataclass(frozen=True)
class Rollback:
    """What a rollback does, for showing before and after."""

    to_block: int
    from_step: int
    to_step: int
    undone_steps: tuple[int, ...]  # checkpoints set aside
    undone_blocks: tuple[int, ...]  # finished ones
    skipped: tuple[int, ...]
    redraw: bool = False  # whether the data process makes the blocks from to_block + 1 on anew
    lr_scale: float = 1.0


def plan_rollback(
    checkpoints: Checkpoints,
    journal: Journal,
    to_block: int,
    *,
    skip: bool = False,
    redraw: bool = False,
    lr_scale: float = 1.0,
) -> Rollback:
    """The checkpoint after block `to_block` (-1: the run's very start), and what lies beyond it.

    Raises:
      CheckpointError: no checkpoint stands at the end of that block.
    """
    steps, to_block, skipped = checkpoints.steps(), max(to_block, -1), skipped_blocks(journal)
    events = standing(journal)
    began = [event["step"] for event in events if event["event"] == "branched"]
    target = (began[0] if began else 0) if to_block < 0 else _step_after(to_block, checkpoints)
    reached = [event["step"] for event in events if event["event"] in ("block_finished", "checkpoint")]
    before, now = trained_blocks(journal, target), trained_blocks(journal)
    return Rollback(
        to_block=to_block,
        from_step=max([*steps, *reached[-1:]], default=0),
        to_step=target,
        undone_steps=tuple(step for step in steps if step > target),
        undone_blocks=tuple(now[len(before) :]),
        # With those that were left out before it: the block to leave out is the one that was read after `to_block`.
        skipped=tuple(range(to_block + 1, next_block(to_block + 1, skipped) + 1)) if skip else (),
        redraw=redraw,
        lr_scale=lr_scale,
    )


def _step_after(block: int, checkpoints: Checkpoints) -> int:
    ends = {meta.position.finished_block: step for step, meta in readable(checkpoints) if meta.position.batch == 0}
    if block not in ends:
        known = ", ".join(str(b) for b in sorted(ends) if b >= 0) or "none"
        raise CheckpointError(
            f"{checkpoints.folder}: no checkpoint after block {block}; there are ones after: {known} "
            "(--to-block=-1 goes back to the start)"
        )
    return ends[block]


@dataclass(frozen=True)
class Cost:
    """What a rollback throws away, of the finished blocks."""

    tokens: int
    documents: int  # uses of documents
    hours: float


def cost_of(plan: Rollback, store: BlockStore, events: Sequence[dict[str, Any]]) -> Cost:
    """Tokens and documents of the undone blocks, and how long they took; blocks that are gone count nothing."""
    manifests = [store.manifest(block) for block in plan.undone_blocks if store.has(block)]
    seconds, started = 0.0, {}
    for event in events:
        if event["event"] == "block_started":
            started[event["block"]] = event["time"]
        elif event["event"] == "block_finished" and event["step"] > plan.to_step and event["block"] in started:
            seconds += _seconds(started.pop(event["block"]), event["time"])
    return Cost(
        tokens=sum(manifest.account.written for manifest in manifests),
        documents=sum(manifest.documents for manifest in manifests),
        hours=seconds / 3600,
    )


def _seconds(begin: str, end: str) -> float:
    began, ended = (datetime.datetime.fromisoformat(moment).timestamp() for moment in (begin, end))
    return ended - began


def roll_back(workdir: PathLike, dataset: PathLike, plan: Rollback, alarm: str | None = None) -> None:
    """Carries a planned rollback out.

    `alarm`: what a run says that rolls back by itself. The journal line comes last: killed before it, the command can
    be given again.

    Raises:
      UserError: a run in a bucket, or blocks to be made anew that another run has read.
    """
    if not is_local(as_path(workdir)):
        raise UserError(f"{workdir}: rolling back a run in a bucket is not supported; copy it to a disk")
    load_dataset(as_path(dataset) / "dataset.json")  # the skip must reach the ledger that it is meant for
    if plan.redraw:
        _check_redraw(workdir, dataset, plan.to_block)
    journal = journal_of(workdir)
    aside = as_path(workdir) / _FOLDER / f"{len(journal.read()):06d}"
    for step in plan.undone_steps:
        aside.mkdir(parents=True, exist_ok=True)
        shutil.move(as_path(workdir) / "checkpoints" / str(step), aside / str(step))
    kept = {block for block in skipped_blocks(journal) if block <= plan.to_block}
    tell_skips(dataset, reader_name(workdir), kept | set(plan.skipped))
    if plan.redraw:
        events = Journal(as_path(dataset) / "journal.jsonl")
        events.append("redraw", from_block=plan.to_block + 1, reader=reader_name(workdir))
    report_progress(dataset, reader_name(workdir), ReaderPosition(plan.to_block + 1, finished=False))
    journal.append(
        "rollback",
        to_block=plan.to_block,
        from_step=plan.from_step,
        to_step=plan.to_step,
        skipped=list(plan.skipped),
        redraw=plan.redraw,
        lr_scale=plan.lr_scale,
        set_aside=str(aside) if plan.undone_steps else None,
        alarm=alarm,
    )


def _check_redraw(workdir: PathLike, dataset: PathLike, to_block: int) -> None:
    """Raises UserError if another run has read, or is reading, a block that would be made anew."""
    for reader, position in reading_positions(dataset).items():
        if reader != reader_name(workdir) and position.block > to_block:
            raise UserError(
                f"--redraw: the run {reader} is at block {position.block} of {dataset} already, and what it read would "
                "be another text than the data set says; produce into another folder, and go on from here with "
                "maxlm train --from"
            )


def undo_rollback(workdir: PathLike, dataset: PathLike) -> dict[str, Any]:
    """Takes the last rollback back: its checkpoints stand again. Returns that rollback's event.

    The journal line comes first: a run that is taken up before all checkpoints are back goes on from those that are,
    as after any crash. Killed after it, the command can be given again.

    Raises:
      UserError: there is none, it was pruned, training has gone on since, or blocks were asked to be made anew.
    """
    journal = journal_of(workdir)
    if unfinished := _unfinished_undo(workdir, journal):
        _bring_back(workdir, dataset, unfinished)
        return unfinished
    events = standing(journal)
    places = [i for i, event in enumerate(events) if event["event"] == "rollback"]
    if not places:
        raise UserError(f"{workdir}: no rollback to undo")
    last, since = events[places[-1]], events[places[-1] + 1 :]
    if any(event["event"] == "block_started" for event in since):
        raise UserError(
            f"{workdir}: training has gone on since the rollback to block {last['to_block']}; what it undid is in "
            f"{last['set_aside']}, and can be branched from (maxlm train --from)"
        )
    if last.get("redraw"):
        raise UserError(f"{workdir}: the rollback asked for other data (--redraw); what it undid had read the old one")
    aside = _aside(workdir, last)
    if aside and not aside.exists():
        raise UserError(f"{workdir}: what the rollback undid is gone from {aside} (--prune)")
    fields = ("to_block", "to_step", "from_step", "set_aside")
    journal.append("rollback_undone", **{name: last.get(name) for name in fields})
    _bring_back(workdir, dataset, last)
    return last


def _aside(workdir: PathLike, rollback: dict[str, Any]) -> epath.Path | None:
    """Where a rollback's checkpoints are, in the run's folder wherever that is by now; None: it moved none."""
    name = rollback.get("set_aside")
    return as_path(workdir) / _FOLDER / epath.Path(name).name if name else None


def _unfinished_undo(workdir: PathLike, journal: Journal) -> dict[str, Any] | None:
    """The journal's last event, if it takes a rollback back whose checkpoints are still aside."""
    last = (journal.read() or [{"event": ""}])[-1]
    aside = _aside(workdir, last) if last["event"] == "rollback_undone" else None
    return last if aside and aside.exists() and _steps_in(aside) else None


def _steps_in(folder: epath.Path) -> list[epath.Path]:
    """Checkpoints, ascending; whatever else lies there is left."""
    return sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def _bring_back(workdir: PathLike, dataset: PathLike, rollback: dict[str, Any]) -> None:
    aside = _aside(workdir, rollback)
    for path in _steps_in(aside) if aside else ():
        shutil.move(path, as_path(workdir) / "checkpoints" / path.name)
    tell_skips(dataset, reader_name(workdir), skipped_blocks(journal_of(workdir)))


def prune(workdir: PathLike) -> int:
    """Deletes for good what rollbacks set aside; returns the bytes that this frees."""
    folder = as_path(workdir) / _FOLDER
    if not folder.exists():
        return 0
    freed = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    folder.rmtree()
    return freed
