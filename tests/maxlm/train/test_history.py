"""What the journal says of a run after stops, crashes and rollbacks, and rolling back itself."""

import dataclasses
import shutil
from pathlib import Path

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.blocks.manifest import DatasetInfo, save
from maxlm.errors import CheckpointError, UserError
from maxlm.journal import Journal
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.history import (
    journal_of,
    next_block,
    plan_rollback,
    reader_name,
    resume_position,
    roll_back,
    skipped_blocks,
    trained_blocks,
)
from maxlm.train.state import TrainState

STEPS = 4  # updates in a block


class Story:
    """A run told twice: as the journal's lines, and as the plain facts that they should amount to."""

    def __init__(self, folder: Path):
        folder.joinpath("journal.jsonl").unlink(missing_ok=True)
        self.journal = journal_of(folder)
        self.trained: list[int] = []
        self.left_out: set[int] = set()
        self._begin()

    @property
    def step(self) -> int:
        return STEPS * len(self.trained)

    def _begin(self) -> None:
        self.journal.append("resumed" if self.step else "run_started", step=self.step, block=self._following())

    def _following(self) -> int:
        block = self.trained[-1] + 1 if self.trained else 0
        while block in self.left_out:
            block += 1
        return block

    def train_block(self) -> None:
        self.journal.append("block_started", block=self._following(), step=self.step, batch=0)
        self.trained.append(self._following())
        self.journal.append("block_finished", block=self.trained[-1], step=self.step)
        self.journal.append("checkpoint", step=self.step, finished_block=self.trained[-1], batch=0)

    def crash(self, lost: int) -> None:
        """The newest `lost` checkpoints were not published when the process was killed."""
        self.trained = self.trained[: len(self.trained) - lost]
        self._begin()

    def roll_back(self, keep: int, skip: bool) -> None:
        from_step, undone = self.step, self.trained[keep:]
        self.trained = self.trained[:keep]
        to_block = self.trained[-1] if self.trained else -1
        after = undone[0] if undone else self._following()  # what was read after `to_block`, or would have been
        skipped = [block for block in range(to_block + 1, after + 1)] if skip else []
        self.left_out = {block for block in self.left_out if block <= to_block} | set(skipped)
        self.journal.append(
            "rollback", to_block=to_block, from_step=from_step, to_step=self.step, skipped=skipped, set_aside=None
        )
        self._begin()


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("train"), st.integers(1, 3), st.booleans()),
            st.tuples(st.just("crash"), st.integers(0, 2), st.booleans()),
            st.tuples(st.just("rollback"), st.integers(0, 6), st.booleans()),
        ),
        max_size=12,
    )
)
def test_any_story(tmp_path_factory, events):
    story = Story(tmp_path_factory.getbasetemp())
    for kind, number, skip in events:
        if kind == "train":
            for _ in range(number):
                story.train_block()
        elif kind == "crash":
            story.crash(min(number, len(story.trained)))
        else:
            story.roll_back(min(number, len(story.trained)), skip)
        assert trained_blocks(story.journal) == story.trained
        assert skipped_blocks(story.journal) == story.left_out
        assert not set(story.trained) & story.left_out


def test_a_rollback_of_a_rollback_puts_blocks_back(tmp_path):
    story = Story(tmp_path)
    for _ in range(4):
        story.train_block()
    story.roll_back(keep=2, skip=True)  # 2 is left out
    story.train_block()
    assert (trained_blocks(story.journal), skipped_blocks(story.journal)) == ([0, 1, 3], {2})
    story.roll_back(keep=2, skip=True)  # back to block 1 again: 3 was bad as well
    story.train_block()
    assert (trained_blocks(story.journal), skipped_blocks(story.journal)) == ([0, 1, 4], {2, 3})
    story.roll_back(keep=1, skip=False)  # to before all of them
    story.train_block()
    story.train_block()
    assert (trained_blocks(story.journal), skipped_blocks(story.journal)) == ([0, 1, 2], set())


def test_nothing_was_trained(tmp_path):
    assert trained_blocks(journal_of(tmp_path)) == []
    assert skipped_blocks(journal_of(tmp_path)) == set()


@given(st.integers(0, 30), st.sets(st.integers(0, 40)))
def test_next_block(block, skipped):
    found = next_block(block, skipped)
    assert found not in skipped
    assert set(range(block, found)) <= skipped


def test_resuming_in_a_block_that_is_left_out_now():
    position = Position(step=10, blocks_done=2, block=2, batch=3, finished_block=1)
    assert resume_position(position, set()) == position
    assert resume_position(position, {1, 5}) == position
    assert resume_position(position, {2, 3}) == dataclasses.replace(position, block=4, batch=0)


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


def _plan(workdir: Path, *arguments):
    checkpoints = Checkpoints(workdir)
    try:
        return plan_rollback(checkpoints, *arguments)
    finally:
        checkpoints.close()


def test_plans(run):
    plan = _plan(run, 1, False, set())
    assert (plan.to_block, plan.from_step, plan.to_step, plan.undone_steps, plan.skipped) == (1, 14, 8, (12, 14), ())
    assert _plan(run, 2, False, set()).undone_steps == (14,)
    assert _plan(run, -1, False, set()).undone_steps == (4, 8, 12, 14)
    assert _plan(run, -1, True, set()).skipped == (0,)
    assert _plan(run, -7, True, set()) == _plan(run, -1, True, set())
    assert _plan(run, 1, True, set()).skipped == (2,)
    assert _plan(run, 1, True, {2, 3, 9}).skipped == (2, 3, 4)


def test_no_checkpoint_after_that_block(run):
    with pytest.raises(CheckpointError, match=r"no checkpoint after block 3; there are ones after: 0, 1, 2 \(--to-b"):
        _plan(run, 3, False, set())


def test_an_empty_run_can_only_go_to_the_start(tmp_path):
    assert _plan(tmp_path, -1, False, set()).undone_steps == ()
    with pytest.raises(CheckpointError, match="no checkpoint after block 0; there are ones after: none"):
        _plan(tmp_path, 0, False, set())


def test_a_damaged_checkpoint_does_not_stand_in_the_way(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "12" / "meta" / "metadata").write_text("{")
    plan = _plan(tmp_path / "run", 1, False, set())
    assert (plan.to_step, plan.undone_steps) == (8, (12, 14))
    with pytest.raises(CheckpointError, match="no checkpoint after block 2; there are ones after: 0, 1"):
        _plan(tmp_path / "run", 2, False, set())


def test_rolling_back_sets_aside_and_tells_the_data_process(run, tmp_path):
    workdir, dataset = tmp_path / "some" / "run", tmp_path / "data"
    shutil.copytree(run, workdir)
    dataset.mkdir()
    save(dataset / "dataset.json", DatasetInfo("0" * 64, 128, 8, ({"8": 16},), ("code", "en")))
    roll_back(workdir, dataset, _plan(workdir, 0, True, skipped_blocks(journal_of(workdir))))
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
    roll_back(workdir, dataset, _plan(workdir, 0, True, skipped_blocks(journal_of(workdir))))
    assert skipped_blocks(journal_of(workdir)) == {1, 2}
    roll_back(workdir, dataset, _plan(workdir, -1, False, skipped_blocks(journal_of(workdir))))
    assert skipped_blocks(journal_of(workdir)) == set()
    standing: set[int] = set()
    for event in events.read():
        (standing.add if event["event"] == "skip" else standing.discard)(event["block"])
    assert standing == set()
    assert {e["block"] for e in events.read()} == {1, 2}


def test_buckets_are_refused(run):
    with pytest.raises(UserError, match=r"gs://bucket/run: rolling back a run in a bucket is not supported"):
        roll_back("gs://bucket/run", "gs://bucket/data", _plan(run, 1, False, set()))


def test_reader_names_tell_runs_apart():
    names = {reader_name(path) for path in ("/a/exp/run", "/b/exp/run", "/a-exp/run", "/run", "/")}
    assert len(names) == 5
    assert reader_name("/a/exp/run").startswith("run-")
    assert reader_name("/a/exp/../exp/run") == reader_name("/a/exp/run")
