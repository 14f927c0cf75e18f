"""What the journal says of a run after stops, crashes, rollbacks, and rollbacks that were taken back."""

import dataclasses
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.train.checkpoint import Position
from maxlm.train.history import (
    journal_of,
    next_block,
    reader_name,
    resume_position,
    skipped_blocks,
    trained_blocks,
)

STEPS = 4  # updates in a block


class Story:
    """A run told twice: as the journal's lines, and as the plain facts that they should amount to."""

    def __init__(self, folder: Path):
        folder.joinpath("journal.jsonl").unlink(missing_ok=True)
        self.journal = journal_of(folder)
        self.trained: list[int] = []
        self.left_out: set[int] = set()
        self.before: tuple[list[int], set[int]] | None = None
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
        self.before = None
        self.journal.append("block_started", block=self._following(), step=self.step, batch=0)
        self.trained.append(self._following())
        self.journal.append("block_finished", block=self.trained[-1], step=self.step)
        self.journal.append("checkpoint", step=self.step, finished_block=self.trained[-1], batch=0)

    def crash(self, lost: int) -> None:
        """The newest `lost` checkpoints were not published when the process was killed."""
        self.before = self.before if not lost else None
        self.trained = self.trained[: len(self.trained) - lost]
        self._begin()

    def undo(self) -> None:
        """Takes the last rollback back, if nothing was trained since."""
        if self.before:
            self.trained, self.left_out = self.before
            self.journal.append("rollback_undone")
            self.before = None
            self._begin()

    def roll_back(self, keep: int, skip: bool) -> None:
        from_step, undone = self.step, self.trained[keep:]
        self.before = list(self.trained), set(self.left_out)
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
            st.tuples(st.just("undo"), st.just(0), st.booleans()),
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
        elif kind == "undo":
            story.undo()
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


def test_reader_names_tell_runs_apart():
    names = {reader_name(path) for path in ("/a/exp/run", "/b/exp/run", "/a-exp/run", "/run", "/")}
    assert len(names) == 5
    assert reader_name("/a/exp/run").startswith("run-")
    assert reader_name("/a/exp/../exp/run") == reader_name("/a/exp/run")
