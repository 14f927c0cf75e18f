"""Going back: what is planned, set aside, told to the data process, taken back and pruned."""

import shutil
from pathlib import Path

import jax.numpy as jnp
import pytest

from maxlm.blocks.manifest import DatasetInfo, save
from maxlm.blocks.reader import BlockStore, ReaderPosition, report_progress
from maxlm.errors import CheckpointError, UserError
from maxlm.journal import Journal
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.history import journal_of, lr_scale, reader_name, skipped_blocks, trained_blocks
from maxlm.train.rollback import cost_of, plan_rollback, prune, roll_back, undo_rollback
from maxlm.train.state import TrainState
from tests.synthetic import make_dataset

STEPS = 4  # updates in a block


def _save_run(workdir: Path, positions: list[Position]) -> None:
    checkpoints = Checkpoints(workdir)
    for position in positions:
        state = TrainState({"w": jnp.zeros(1)}, {}, jnp.int32(position.step), jnp.zeros(2, jnp.uint32))
        checkpoints.save(state, Meta(position, {"model": {}}, 8))
    checkpoints.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Blocks 0, 1 and 2 are done, and half of 3."""
    workdir = tmp_path_factory.mktemp("data") / "some" / "run"
    ends = [Position(STEPS * (b + 1), b + 1, b + 1, 0, finished_block=b) for b in range(3)]
    _save_run(workdir, [*ends, Position(14, 3, 3, 2, finished_block=2)])
    return workdir


def _plan(workdir: Path, to_block: int, **options):
    checkpoints = Checkpoints(workdir)
    try:
        return plan_rollback(checkpoints, journal_of(workdir), to_block, **options)
    finally:
        checkpoints.close()


def test_plans(run):
    plan = _plan(run, 1)
    assert (plan.to_block, plan.from_step, plan.to_step, plan.undone_steps, plan.skipped) == (1, 14, 8, (12, 14), ())
    assert _plan(run, 2).undone_steps == (14,)
    assert _plan(run, -1).undone_steps == (4, 8, 12, 14)
    assert _plan(run, -1, skip=True).skipped == (0,)
    assert _plan(run, -7, skip=True) == _plan(run, -1, skip=True)
    assert _plan(run, 1, skip=True).skipped == (2,)


def test_blocks_left_out_before_are_left_out_again(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    journal_of(tmp_path / "run").append("rollback", to_block=1, from_step=14, to_step=8, skipped=[2, 3, 9])
    assert _plan(tmp_path / "run", 1, skip=True).skipped == (2, 3, 4)


def test_no_checkpoint_after_that_block(run):
    with pytest.raises(CheckpointError, match=r"no checkpoint after block 3; there are ones after: 0, 1, 2 \(--to-b"):
        _plan(run, 3)


def test_an_empty_run_can_only_go_to_the_start(tmp_path):
    assert _plan(tmp_path, -1).undone_steps == ()
    with pytest.raises(CheckpointError, match="no checkpoint after block 0; there are ones after: none"):
        _plan(tmp_path, 0)


def test_a_damaged_checkpoint_does_not_stand_in_the_way(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "12" / "meta" / "metadata").write_text("{")
    plan = _plan(tmp_path / "run", 1)
    assert (plan.to_step, plan.undone_steps) == (8, (12, 14))
    with pytest.raises(CheckpointError, match="no checkpoint after block 2; there are ones after: 0, 1"):
        _plan(tmp_path / "run", 2)


def test_rolling_back_sets_aside_and_tells_the_data_process(run, tmp_path):
    workdir, dataset = tmp_path / "some" / "run", tmp_path / "data"
    shutil.copytree(run, workdir)
    dataset.mkdir()
    save(dataset / "dataset.json", DatasetInfo("0" * 64, 128, 8, ({"8": 16},), ("code", "en")))
    roll_back(workdir, dataset, _plan(workdir, 0, skip=True))
    left = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    assert left == ["4"]
    (event,) = journal_of(workdir).read()
    assert sorted(path.name for path in Path(event["set_aside"]).iterdir()) == ["12", "14", "8"]
    assert (event["event"], event["to_block"], event["from_step"], event["to_step"]) == ("rollback", 0, 14, 4)
    assert skipped_blocks(journal_of(workdir)) == {1}
    events = Journal(dataset / "journal.jsonl")
    assert [(e["event"], e["block"], e["reader"]) for e in events.read()] == [("skip", 1, reader_name(workdir))]
    # On to block 2, and back again: 1 stays left out and 2 as well; then to the start, which takes both back.
    _save_run(workdir, [Position(8, 2, 3, 0, finished_block=2)])
    roll_back(workdir, dataset, _plan(workdir, 0, skip=True))
    assert skipped_blocks(journal_of(workdir)) == {1, 2}
    roll_back(workdir, dataset, _plan(workdir, -1))
    assert skipped_blocks(journal_of(workdir)) == set()
    standing: set[int] = set()
    for event in events.read():
        (standing.add if event["event"] == "skip" else standing.discard)(event["block"])
    assert standing == set()
    assert {e["block"] for e in events.read()} == {1, 2}


def test_buckets_are_refused(run):
    with pytest.raises(UserError, match=r"gs://bucket/run: rolling back a run in a bucket is not supported"):
        roll_back("gs://bucket/run", "gs://bucket/data", _plan(run, 1))


@pytest.fixture
def told(tmp_path) -> tuple[Path, str]:
    """A run of three blocks with its journal, and its data set."""
    workdir, dataset = tmp_path / "run", make_dataset(tmp_path / "data", blocks=4)
    _save_run(workdir, [Position(STEPS * (b + 1), b + 1, b + 1, 0, finished_block=b) for b in range(3)])
    journal = journal_of(workdir)
    journal.append("run_started", step=0, block=0)
    for block in range(3):
        journal.append("block_started", block=block, step=STEPS * block, batch=0)
        journal.append("block_finished", block=block, step=STEPS * (block + 1))
        journal.append("checkpoint", step=STEPS * (block + 1), finished_block=block, batch=0)
    return workdir, dataset


def test_what_would_be_undone_is_counted(told):
    workdir, dataset = told
    plan = _plan(workdir, 0)
    assert (plan.from_step, plan.to_step, plan.undone_blocks) == (12, 4, (1, 2))
    store = BlockStore(dataset)
    cost = cost_of(plan, store, journal_of(workdir).read())
    assert cost.tokens == sum(store.manifest(block).account.written for block in (1, 2)) > 0
    assert cost.documents == 2
    assert 0 <= cost.hours < 0.1


@pytest.mark.parametrize("skip", [False, True])
def test_a_rollback_is_taken_back(told, skip):
    workdir, dataset = told
    files = {path: path.read_bytes() for path in (workdir / "checkpoints").rglob("*") if path.is_file()}
    roll_back(workdir, dataset, _plan(workdir, 0, skip=skip, lr_scale=0.5))
    assert (trained_blocks(journal_of(workdir)), lr_scale(journal_of(workdir))) == ([0], 0.5)
    journal_of(workdir).append("resumed", step=4, block=1)  # and stopped again before it had read anything
    undo_rollback(workdir, dataset)
    assert {path: path.read_bytes() for path in (workdir / "checkpoints").rglob("*") if path.is_file()} == files
    assert (trained_blocks(journal_of(workdir)), lr_scale(journal_of(workdir))) == ([0, 1, 2], 1.0)
    assert skipped_blocks(journal_of(workdir)) == set()
    signs = [(event["event"], event["block"]) for event in Journal(Path(dataset) / "journal.jsonl").read()]
    assert signs == ([("skip", 1), ("unskip", 1)] if skip else [])
    with pytest.raises(UserError, match="no rollback to undo"):
        undo_rollback(workdir, dataset)


def test_an_undoing_that_was_killed_is_given_again(told, tmp_path):
    """Its line is in the journal, one checkpoint is back, the ledger not told; and the run has been moved since."""
    workdir, dataset = told
    before = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    roll_back(workdir, dataset, _plan(workdir, 0, skip=True))
    last = journal_of(workdir).read()[-1]
    journal_of(workdir).append("rollback_undone", **{key: last[key] for key in ("to_block", "to_step", "set_aside")})
    moved = tmp_path / "elsewhere" / "run"
    shutil.move(workdir, moved)
    aside = moved / "rolled_back" / Path(last["set_aside"]).name
    shutil.move(aside / "8", moved / "checkpoints" / "8")
    assert undo_rollback(moved, dataset)["to_block"] == 0
    assert sorted(path.name for path in (moved / "checkpoints").iterdir()) == before
    with pytest.raises(UserError, match="no rollback to undo"):
        undo_rollback(moved, dataset)


def test_rollbacks_that_can_not_be_taken_back(told, tmp_path):
    workdir, dataset = told
    roll_back(workdir, dataset, _plan(workdir, 1))
    shutil.copytree(workdir, tmp_path / "pruned")
    journal_of(workdir).append("block_started", block=2, step=8, batch=0)
    with pytest.raises(UserError, match=r"training has gone on since the rollback to block 1; .*rolled_back"):
        undo_rollback(workdir, dataset)
    assert prune(tmp_path / "pruned") > 1000
    assert prune(tmp_path / "pruned") == 0
    with pytest.raises(UserError, match=r"is gone from .*\(--prune\)"):
        undo_rollback(tmp_path / "pruned", dataset)


def test_other_data_is_asked_for(told):
    workdir, dataset = told
    roll_back(workdir, dataset, _plan(workdir, 0, redraw=True))
    assert BlockStore(dataset).redraws() == [1]
    assert not BlockStore(dataset).ready(2)
    with pytest.raises(UserError, match="asked for other data"):
        undo_rollback(workdir, dataset)


def test_other_data_is_not_made_under_another_run(told):
    workdir, dataset = told
    report_progress(dataset, "other-run", ReaderPosition(2, finished=False))
    with pytest.raises(UserError, match=r"the run other-run is at block 2 .*maxlm train --from"):
        roll_back(workdir, dataset, _plan(workdir, 0, redraw=True))
    assert len(list((workdir / "checkpoints").iterdir())) == 3  # nothing was touched
    roll_back(workdir, dataset, _plan(workdir, 0))  # the same data again is nobody else's business


def test_scales_add_up_until_one_goes_back_behind_them(told):
    workdir, dataset = told
    roll_back(workdir, dataset, _plan(workdir, 1, lr_scale=0.5))
    roll_back(workdir, dataset, _plan(workdir, 1, lr_scale=0.5))
    assert lr_scale(journal_of(workdir)) == 0.25
    roll_back(workdir, dataset, _plan(workdir, 0, lr_scale=0.8))
    assert lr_scale(journal_of(workdir)) == 0.8
