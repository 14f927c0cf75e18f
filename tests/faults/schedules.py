"""Random schedules of a training run and its data process, killed at random changes to the disk.

    python -m tests.faults.schedules --schedules=1000

Each schedule is a sequence of: produce, train, roll back (repeating, leaving out, or with other data), undo, prune; any
of them may die on the way. After each, the ledger, the manifests and the journals are held against each other, and what
was in fact trained on against all of them; at the end the parameters against the same batches without interruption.
"""

import argparse
import dataclasses
import functools
import os
import shutil
import sys
import tempfile
import threading
import warnings
from collections import Counter
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from data_pipeline.document import TOKENIZER
from data_pipeline.mix.ledger import skipped_blocks as left_out_of_ledger
from data_pipeline.produce import producer
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DataError, UserError
from maxlm.journal import Journal
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.tokenizer.load import load_tokenizer
from maxlm.train import loop, run
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.config import CheckpointConfig, Config, DataSettings, OptimizerConfig, ScheduleConfig, TrainSettings
from maxlm.train.history import journal_of, skipped_blocks, trained_blocks
from maxlm.train.optimizer import make_optimizer
from maxlm.train.rollback import plan_rollback, prune, roll_back, undo_rollback
from maxlm.train.schedules import make_schedule
from maxlm.train.state import TrainState, abstract_state, init_state
from maxlm.train.step import make_train_step
from tests import tiny
from tests.data_pipeline.produce import made
from tests.faults.crash import Killed, dying_at

SEQ_LEN, BATCH, STEPS = 15, 4, 3  # STEPS: of a block
TALLY: Counter[tuple[str, str]] = Counter()  # (what, how it ended)
# Changes to the disk until the process dies; none: it lives.
CRASHES, SOON = st.none() | st.integers(1, 60), st.none() | st.integers(1, 8)
PRODUCE = made.config(
    seq_len=SEQ_LEN, block_tokens=BATCH * STEPS * (SEQ_LEN + 1), row_multiple=BATCH, shard_rows=5, holdout_tokens=64,
    ahead=100, workers=1,
)  # fmt: skip


@functools.cache
def _prepared() -> Path:
    """A data set with its first block."""
    folder = made.dataset(Path(tempfile.mkdtemp(prefix="schedules-")))
    _produce(folder, 1)
    return folder


MODEL, TRAIN = tiny.model(num_layers=1), TrainSettings(batch=BATCH, peak_flops=1e12, eval_every_blocks=0)
OPTIMIZER, SCHEDULE = OptimizerConfig(learning_rate=1e-2), ScheduleConfig(name="constant", warmup_share=0.0)


@functools.cache
def _compiled() -> tuple[Any, TrainState, TrainState]:
    """What every run of every schedule would compile anew: the step, a fresh state on the host, and its shapes."""
    mesh, vocab_size = tiny.one_device(), load_tokenizer(_prepared() / TOKENIZER).vocab_size
    model = DecoderFunction(dataclasses.replace(MODEL, vocab_size=vocab_size))
    rate = make_schedule(OPTIMIZER.learning_rate, SCHEDULE, 1)
    tx = make_optimizer(OPTIMIZER, rate)
    with jax.set_mesh(mesh):
        step = make_train_step(model, tx, rate, TRAIN, mesh, num_domains=len(made.MIXTURE))
        fresh = jax.device_get(init_state(model, tx, mesh, TRAIN.seed))
        return step, fresh, abstract_state(model, tx, mesh)


def _produce(dataset: Path, blocks: int) -> None:
    produce = dataclasses.replace(PRODUCE.produce, num_blocks=blocks)
    producer.run(dataclasses.replace(PRODUCE, produce=produce), dataset)


def _begin() -> TrainState:
    return jax.tree.map(lambda leaf: jax.device_put(leaf, _whole()), _compiled()[1])


def _whole() -> jax.sharding.Sharding:
    return jax.sharding.NamedSharding(tiny.one_device(), jax.sharding.PartitionSpec())


@dataclasses.dataclass
class Step:
    """An update that was made."""

    events: int  # lines of the run's journal by then
    step: int
    batch: Any  # on the host


class House:
    """A data set, a run on it, and all that was ever trained on."""

    def __init__(self, folder: Path):
        self.dataset, self.run, self.steps = folder / "data", folder / "run", list[Step]()
        shutil.copytree(_prepared(), self.dataset)
        self.config = Config(
            model=dataclasses.replace(MODEL, vocab_size=0),
            data=DataSettings(os.fspath(self.dataset), num_blocks=1000, wait_s=0.0),
            optimizer=OPTIMIZER,
            schedule=SCHEDULE,
            checkpoint=CheckpointConfig(keep=100, every_steps=2),
            train=TRAIN,
        )

    @property
    def journal(self) -> Journal:
        return journal_of(self.run)

    def produce(self, blocks: int) -> None:
        _produce(self.dataset, blocks)

    def train(self) -> None:
        """Until a block is not there."""

        def recorded(state: TrainState, batch: Any, limits: Any) -> Any:
            on_host = jax.tree.map(np.asarray, batch)
            self.steps.append(Step(len(self.journal.read()), int(state.step) + 1, on_host))
            return _compiled()[0](state, batch, limits)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "make_train_step", lambda *_, **__: recorded)
            patch.setattr(run, "init_state", lambda *_: _begin())
            patch.setattr(run, "abstract_state", lambda *_: _compiled()[2])
            patch.setattr(loop, "check_keeps_documents_apart", lambda *_: None)  # compiles a kernel to try it
            with pytest.raises(DataError, match="not finished after"):
                loop.train(self.config, self.run, BlockStore(self.dataset), devices=jax.devices()[:1])

    def roll_back(self, to_block: int, skip: bool, redraw: bool) -> None:
        checkpoints = Checkpoints(self.run)
        try:
            plan = plan_rollback(checkpoints, self.journal, to_block, skip=skip, redraw=redraw)
        finally:
            checkpoints.close()
        roll_back(self.run, self.dataset, plan)

    def effective(self) -> list[Step]:
        """The updates that the present parameters are made of, by the run's journal alone."""
        standing, undone, steps = list[Step](), list[list[Step]](), iter([*self.steps, None])
        following = next(steps)
        events: list[dict[str, Any]] = [*self.journal.read(), {"event": "end"}]
        for number, event in enumerate(events):
            while following is not None and following.events <= number:
                assert following.step == len(standing) + 1, (following.step, len(standing))
                standing.append(following)
                following = next(steps)
            if event["event"] in ("run_started", "resumed"):
                assert event["step"] <= len(standing)
                standing = standing[: event["step"]]
            elif event["event"] == "rollback":
                undone.append(standing)
                standing = standing[: event["to_step"]]
            elif event["event"] == "rollback_undone":
                standing = undone.pop()
        assert following is None
        return standing

    def newest(self) -> int:
        """The step at which training would go on."""
        folder = self.run / "checkpoints"
        return max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0)

    # What must hold, whatever happened.

    def check_blocks(self) -> None:
        """Every block is whole, and of the documents that the ledger says."""
        store, ledger = BlockStore(self.dataset), made.open_ledger(self.dataset)
        for block in store.finished():
            manifest, plan = store.verify(block), ledger.plan(block)
            assert plan is not None
            assert (manifest.selection, manifest.draw) == ((plan.start, plan.end), plan.draw)
            assert manifest.documents == len(ledger.documents(block))
        ledger.check_uses()
        counts = np.zeros(ledger.documents_in_all, np.int64)
        for block in ledger.applied():
            np.add.at(counts, ledger.documents(block), 1)
        assert (counts == ledger.uses()).all()

    def check_settled(self) -> None:
        """After the data process has looked: uses are those of the blocks that no run leaves out."""
        store, ledger = BlockStore(self.dataset), made.open_ledger(self.dataset)
        left_out = left_out_of_ledger(self.dataset)
        assert ledger.applied() == [block for block in store.finished() if block not in left_out]

    def check_trained(self) -> None:
        """Each block that counts as trained on was read whole: every row once. No other update stands."""
        steps, store = self.effective()[: self.newest()], BlockStore(self.dataset)
        blocks = trained_blocks(self.journal, self.newest())
        assert len(blocks) == len(set(blocks))
        assert not set(blocks) & skipped_blocks(self.journal)
        for index, block in enumerate(blocks):
            rows = np.concatenate([step.batch.inputs for step in steps[index * STEPS : (index + 1) * STEPS]])
            assert _multiset(rows) == _multiset(_rows_of(store, block))
        partial = steps[len(blocks) * STEPS :]
        assert len(partial) < STEPS
        if partial:
            rows = np.concatenate([step.batch.inputs for step in partial])
            assert any(_multiset(rows) <= _multiset(_rows_of(store, block)) for block in store.finished())

    def check_told(self) -> None:
        """The data process has been told of the blocks that the run leaves out, and of no other."""
        assert left_out_of_ledger(self.dataset) == skipped_blocks(self.journal)

    def check_params(self) -> None:
        """The newest checkpoint is what these batches give in one go."""
        if not (steps := self.effective()[: self.newest()]):
            return
        state = _begin()
        with jax.set_mesh(tiny.one_device()):
            for step in steps:
                state, _ = _compiled()[0](state, jax.device_put(step.batch, _whole()), NO_LIMITS)
        checkpoints = Checkpoints(self.run)
        found = checkpoints.restore(len(steps), _compiled()[2])
        checkpoints.close()
        tiny.assert_equal(found, state)


def _rows_of(store: BlockStore, block: int) -> np.ndarray:
    source = store.source(block)
    return store.info.row_format.decode(source.__getitems__(list(range(len(source))))).tokens[:, :-1]


def _multiset(rows: np.ndarray) -> Counter[bytes]:
    return Counter(row.astype(np.int64).tobytes() for row in rows)


class Schedule(RuleBasedStateMachine):
    """One house, and what is done to it."""

    @initialize()
    def build(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="schedule-"))
        self.house, self.blocks, self.settled, self.told = House(self.folder), 1, True, True

    def _do(self, crash: int | None, what: Any, *arguments: Any) -> bool:
        """Does it, or dies on the way. Returns whether it came to its end."""
        outcome, died = "done", lambda: False
        try:
            with dying_at(crash) if crash else nullcontext(died) as died:
                what(*arguments)
        except Killed:
            outcome = "died"
        except UserError as error:  # what a person would be told
            outcome = "refused"
            note(str(error))
        outcome = "died" if died() else outcome
        note(f"{what.__name__} {arguments}: {outcome}")
        TALLY[what.__name__, outcome] += 1
        return outcome == "done"

    @rule(more=st.integers(1, 3), crash=CRASHES)
    def produce(self, more: int, crash: int | None) -> None:
        self.settled = self._do(crash, self.house.produce, self.blocks + more)
        self.blocks += more

    @rule(crash=CRASHES)
    def train(self, crash: int | None) -> None:
        self._do(crash, self.house.train)
        self.settled = False
        self.told = self.told or crash is None

    @rule(back=st.integers(1, 3), how=st.sampled_from(["repeat", "skip", "redraw"]), crash=SOON)
    def roll_back(self, back: int, how: str, crash: int | None) -> None:
        done = trained_blocks(self.house.journal)
        to_block = done[-back - 1] if len(done) > back else -1
        ended = self._do(crash, self.house.roll_back, to_block, how == "skip", how == "redraw")
        self.settled, self.told = False, ended or (crash is None and self.told)

    @precondition(lambda self: any(event["event"] == "rollback" for event in self.house.journal.read()))
    @rule(crash=SOON)
    def undo(self, crash: int | None) -> None:
        ended = self._do(crash, undo_rollback, self.house.run, self.house.dataset)
        self.settled, self.told = False, ended or (crash is None and self.told)

    @rule(more=st.integers(1, 3))
    def go_on(self, more: int) -> None:
        """What mostly happens: blocks are made and trained on, and nothing dies."""
        self.produce(more, None)
        self.train(None)

    @precondition(lambda self: (self.house.run / "rolled_back").exists())
    @rule()
    def prune(self) -> None:
        prune(self.house.run)

    @invariant()
    def agrees(self) -> None:
        house = getattr(self, "house", None)
        if house is None:
            return
        house.check_blocks()
        house.check_trained()
        if self.settled:
            house.check_settled()
        if self.told:
            house.check_told()

    def teardown(self) -> None:
        if hasattr(self, "house"):
            self.house.check_params()
            shutil.rmtree(self.folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10, help="of each")
    parser.add_argument("--same", action="store_true", help="the same schedules every time")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # who dies leaves files open
    threading.excepthook = lambda _: None  # in every thread
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        run_schedules(arguments.schedules, arguments.steps, arguments.same)
    sys.stdout.write(f"{arguments.schedules:,} schedules of up to {arguments.steps} steps: all accounts agree\n")
    for what in sorted({what for what, _ in TALLY}):
        counts = ", ".join(f"{TALLY[what, outcome]:,} {outcome}" for outcome in ("done", "died", "refused"))
        sys.stdout.write(f"  {what}: {counts}\n")


def run_schedules(count: int, steps: int, derandomize: bool) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Schedule,
        settings=settings(
            max_examples=count, stateful_step_count=steps, deadline=None, derandomize=derandomize,
            suppress_health_check=checks, print_blob=True,
        ),
    )  # fmt: skip


if __name__ == "__main__":
    main()
