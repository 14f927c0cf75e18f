"""Whole runs: however a run is stopped, resumed or rolled back, it ends where an undisturbed one does, bit for bit."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from maxlm.blocks.reader import BlockStore, ReaderPosition, reading_positions
from maxlm.errors import CheckpointError, ConfigError, DataError, UserError
from maxlm.eval.perplexity import Validation
from maxlm.models import cost
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import MeshConfig, batch_sharding
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.config import CheckpointConfig, Config, DataSettings, OptimizerConfig, ScheduleConfig, TrainSettings
from maxlm.train.history import journal_of, reader_name, trained_blocks
from maxlm.train.loader import BlockFeed
from maxlm.train.loop import train
from maxlm.train.optimizer import make_optimizer
from maxlm.train.rollback import plan_rollback, roll_back
from maxlm.train.schedules import make_schedule
from maxlm.train.state import TrainState, abstract_state, init_state
from maxlm.train.step import make_train_step
from tests import tiny
from tests.synthetic import make_dataset, make_varied_dataset

BLOCKS, ROWS, BATCH = 3, 16, 4
PER_BLOCK = ROWS // BATCH
END = BLOCKS * PER_BLOCK
EVERY = 3  # steps between checkpoints within blocks: at 3, 6 and 9; at 12 the block's own stands


class _StoppedError(Exception):
    """What ends a run in the middle, as a signal would."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    return make_dataset(tmp_path_factory.mktemp("data"), blocks=BLOCKS + 1, rows=ROWS, seq_len=8)


def _config(dataset: str, **train_settings: Any) -> Config:
    return Config(
        model=tiny.model(vocab_size=0),
        data=DataSettings(dataset, num_blocks=BLOCKS, wait_s=0.0),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        schedule=ScheduleConfig(warmup_share=0.2),
        checkpoint=CheckpointConfig(every_steps=EVERY),
        train=TrainSettings(batch=BATCH, log_every=2, peak_flops=1e12, **train_settings),
    )


def _train(config: Config, workdir: Path, evaluate=None, devices: int = 1) -> Position:
    return train(config, workdir, BlockStore(config.data.dataset), evaluate, jax.devices()[:devices])


def _stop_after(blocks: int):
    """An evaluation that ends the process after so many blocks, their checkpoints being written."""

    def make_evaluate(config, store, model, mesh, length):
        calls = iter(range(1, BLOCKS + 1))

        def evaluate(params, reference):
            if next(calls) == blocks:
                raise _StoppedError
            return {"validation/loss": 0.0}

        return evaluate

    return make_evaluate


def _tools(config: Config):
    model = DecoderFunction(dataclasses.replace(config.model, vocab_size=tiny.VOCAB))
    schedule = make_schedule(config.optimizer.learning_rate, config.schedule, END)
    return model, make_optimizer(config.optimizer, schedule), schedule


def _state(config: Config, workdir: Path, step: int) -> TrainState:
    model, tx, _ = _tools(config)
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(step, abstract_state(model, tx, tiny.one_device()))
    checkpoints.close()
    return state


def _steps(workdir: Path) -> dict[int, Meta]:
    checkpoints = Checkpoints(workdir)
    metas = {step: checkpoints.meta(step) for step in checkpoints.steps()}
    checkpoints.close()
    return metas


def _lines(workdir: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (workdir / "metrics" / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "step" in line]


def _events(workdir: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in journal_of(workdir).read() if event["event"] == name]


def _copy_as_killed(run: Path, workdir: Path, step: int) -> None:
    """The run's folder as it stood when the checkpoint of `step` was the newest."""
    shutil.copytree(run, workdir)
    for path in (workdir / "checkpoints").iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)


def _roll_back(config: Config, workdir: Path, to_block: int, skip: bool) -> None:
    checkpoints = Checkpoints(workdir)
    plan = plan_rollback(checkpoints, journal_of(workdir), to_block, skip=skip)
    checkpoints.close()
    roll_back(workdir, config.data.dataset, plan)


@pytest.fixture(scope="module")
def config(dataset) -> Config:
    return _config(dataset)


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> Path:
    """A run of all blocks in one go."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    assert _train(config, workdir) == Position(END, BLOCKS, BLOCKS, 0, finished_block=BLOCKS - 1)
    return workdir


@pytest.fixture(scope="module")
def final(config, undisturbed) -> TrainState:
    return _state(config, undisturbed, END)


def _by_hand(config: Config, blocks: list[int]) -> TrainState:
    """These blocks in this order, by the plainest loop that there is."""
    model, tx, schedule = _tools(config)
    mesh = tiny.one_device()
    feed = BlockFeed(BlockStore(config.data.dataset), batch=BATCH, seed=0, verify=False, wait_s=0.0)
    with jax.set_mesh(mesh):
        state = init_state(model, tx, mesh, config.train.seed)
        step = make_train_step(model, tx, schedule, config.train, mesh, num_domains=2)
        for block in blocks:
            batches = feed.open(block)
            for index in range(len(batches)):
                state, _ = step(state, jax.device_put(batches[index], batch_sharding(mesh)), NO_LIMITS)
    feed.close()
    return state


def test_a_run_is_its_blocks_batch_by_batch(config, final):
    tiny.assert_equal(final, _by_hand(config, [0, 1, 2]))


def test_what_an_undisturbed_run_leaves_behind(config, undisturbed):
    metas = _steps(undisturbed)
    assert {step: (m.position.block, m.position.batch, m.position.finished_block) for step, m in metas.items()} == {
        3: (0, 3, -1), 4: (1, 0, 0), 6: (1, 2, 0), 8: (2, 0, 1), 9: (2, 1, 1), 12: (3, 0, 2),
    }  # fmt: skip
    assert trained_blocks(journal_of(undisturbed)) == [0, 1, 2]
    block = ["block_started", "checkpoint", "block_finished", "checkpoint"]
    events = [event["event"] for event in journal_of(undisturbed).read()]
    assert events == ["run_started", *BLOCKS * block, "run_finished"]
    lines = _lines(undisturbed)
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1
    assert all({"loss/code", "loss/en", "mfu", "tokens_per_s", "data_wait_share"} <= line.keys() for line in lines)
    assert json.loads((undisturbed / "config.json").read_text())["model"]["vocab_size"] == tiny.VOCAB
    reader = reader_name(undisturbed)
    assert reading_positions(config.data.dataset)[reader] == ReaderPosition(BLOCKS, finished=True, oldest=0)


def test_stopped_after_a_block_and_resumed(config, final, tmp_path):
    with pytest.raises(_StoppedError):
        _train(config, tmp_path, _stop_after(2))
    assert max(_steps(tmp_path)) == 2 * PER_BLOCK
    _train(config, tmp_path)
    tiny.assert_equal(_state(config, tmp_path, END), final)
    (resumed,) = _events(tmp_path, "resumed")
    assert (resumed["step"], resumed["block"]) == (8, 2)
    assert trained_blocks(journal_of(tmp_path)) == [0, 1, 2]


@pytest.mark.parametrize("step", [3, 4, 9])
def test_killed_anywhere_and_resumed(config, undisturbed, final, tmp_path, step):
    """At 3 and 9 in the middle of a block, at 4 at its end."""
    _copy_as_killed(undisturbed, tmp_path / "run", step)
    _train(config, tmp_path / "run")
    tiny.assert_equal(_state(config, tmp_path / "run", END), final)
    assert trained_blocks(journal_of(tmp_path / "run")) == [0, 1, 2]
    block = step // PER_BLOCK
    assert _events(tmp_path / "run", "block_started")[BLOCKS]["batch"] == step - block * PER_BLOCK


def test_killed_before_the_first_checkpoint(config, undisturbed, final, tmp_path):
    _copy_as_killed(undisturbed, tmp_path / "run", 0)
    _train(config, tmp_path / "run")
    tiny.assert_equal(_state(config, tmp_path / "run", END), final)


def test_rolled_back_and_repeated(config, undisturbed, final, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed, workdir)
    _roll_back(config, workdir, 0, skip=False)
    assert sorted(_steps(workdir)) == [3, 4]
    _train(config, workdir)
    tiny.assert_equal(_state(config, workdir, END), final)
    before, after = _lines(undisturbed), _lines(workdir)[len(_lines(undisturbed)) :]
    assert [(line["step"], line["loss"]) for line in after] == [(line["step"], line["loss"]) for line in before[2:]]


def test_rolled_back_and_skipped(config, undisturbed, tmp_path):
    """Block 1 is left out: 2 follows on 0, and a further block makes up for it."""
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed, workdir)
    _roll_back(config, workdir, 0, skip=True)
    assert _train(config, workdir).blocks_done == BLOCKS
    assert trained_blocks(journal_of(workdir)) == [0, 2, 3]
    tiny.assert_equal(_state(config, workdir, END), _by_hand(config, [0, 2, 3]))


def test_rolled_back_to_a_smaller_learning_rate(config, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed, workdir)
    checkpoints = Checkpoints(workdir)
    plan = plan_rollback(checkpoints, journal_of(workdir), 0, lr_scale=0.5)
    checkpoints.close()
    roll_back(workdir, config.data.dataset, plan)
    _train(config, workdir)
    before = {line["step"]: line["learning_rate"] for line in _lines(undisturbed)}
    after = [line for line in _lines(workdir)[len(_lines(undisturbed)) :]]
    assert [line["step"] for line in after] == [6, 8, 10, 12]
    for line in after:
        assert line["learning_rate"] == pytest.approx(before[line["step"]] / 2)


def test_resumed_on_another_mesh(config, undisturbed, final, tmp_path):
    _copy_as_killed(undisturbed, tmp_path / "run", 6)
    spread = dataclasses.replace(config, mesh=MeshConfig(stage=2, fsdp=2, tensor=2))
    _train(spread, tmp_path / "run", devices=8)
    state = _state(config, tmp_path / "run", END)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), state.params, final.params)
    assert _events(tmp_path / "run", "resumed")[-1]["mesh"] == {
        "stage": 2, "data": 1, "fsdp": 2, "context": 1, "tensor": 2,
    }  # fmt: skip


def test_a_finished_run_has_nothing_to_do(config, undisturbed, final, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    assert _train(config, tmp_path / "run").step == END
    tiny.assert_equal(_state(config, tmp_path / "run", END), final)
    assert _lines(tmp_path / "run") == _lines(undisturbed)


def test_evaluates_after_every_block(config, tmp_path):
    """With the real held-out block."""

    def validation(config, store, model, mesh, length):
        return Validation(config, store, model, mesh, np.ones(tiny.VOCAB, np.int64), length)

    _train(config, tmp_path, validation)
    evaluated = _events(tmp_path, "evaluated")
    assert [(event["block"], event["step"]) for event in evaluated] == [(0, 4), (1, 8), (2, 12)]
    losses = [event["validation/loss"] for event in evaluated]
    assert losses[2] < losses[1] < losses[0] < np.log(tiny.VOCAB) + 0.1
    assert [line["step"] for line in _lines(tmp_path) if "validation/loss" in line] == [4, 8, 12]


def test_a_diverging_run_stops_before_its_checkpoint(config, tmp_path):
    reckless = dataclasses.replace(config, optimizer=OptimizerConfig(learning_rate=1e30))
    with pytest.raises(
        UserError,
        match=r"step 2: gradient norm is nan; run again, it is not finite again: .*: the run has diverged and stops",
    ):
        _train(reckless, tmp_path)
    assert _steps(tmp_path) == {}
    assert _events(tmp_path, "block_finished") == []


def test_a_damaged_block_stops_the_run_after_the_checkpoint_before_it(config, tmp_path):
    shutil.copytree(config.data.dataset, tmp_path / "data")
    shard = next((tmp_path / "data" / "blocks" / "block-00001").glob("*.array_record"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    damaged = dataclasses.replace(config, data=dataclasses.replace(config.data, dataset=str(tmp_path / "data")))
    with pytest.raises(DataError, match=rf"block-00001/{shard.name}: damaged"):
        _train(damaged, tmp_path / "run")
    assert max(_steps(tmp_path / "run")) == PER_BLOCK


@pytest.mark.parametrize("piece", ["params", "meta"])
def test_a_damaged_checkpoint_is_passed_over(config, undisturbed, final, tmp_path, piece, capsys):
    """The two newest are damaged: the one before them is used, and the run ends in the same bits."""
    workdir = tmp_path / "run"
    _copy_as_killed(undisturbed, workdir, 9)
    for step in (8, 9):
        path = max((workdir / "checkpoints" / str(step) / piece).rglob("*"), key=lambda path: path.stat().st_size)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    _train(config, workdir)
    tiny.assert_equal(_state(config, workdir, END), final)
    assert capsys.readouterr().out.count("WARNING") == 2
    assert [event["step"] for event in _events(workdir, "checkpoint_damaged")] == [9, 8]
    assert _events(workdir, "verified")[-1]["step"] == _events(workdir, "resumed")[-1]["step"] == 6
    assert sorted(path.name.split("-")[0] for path in (workdir / "damaged").iterdir()) == ["8", "9"]
    assert trained_blocks(journal_of(workdir)) == [0, 1, 2]


def test_all_checkpoints_damaged(config, undisturbed, final, tmp_path):
    workdir = tmp_path / "run"
    _copy_as_killed(undisturbed, workdir, 4)
    for path in (workdir / "checkpoints").glob("*/params/manifest.ocdbt"):
        path.write_bytes(b"")
    _train(config, workdir)
    tiny.assert_equal(_state(config, workdir, END), final)


def test_keeps_what_it_is_told_to_keep(config, tmp_path):
    sparse = dataclasses.replace(config, checkpoint=CheckpointConfig(keep=1, every_steps=EVERY, keep_every_blocks=2))
    _train(sparse, tmp_path)
    assert sorted(_steps(tmp_path)) == [8, 12]


def test_a_model_of_another_shape_is_refused(config, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "run")
    other = dataclasses.replace(config, model=tiny.model(vocab_size=0, mlp=96))
    with pytest.raises(CheckpointError, match=r"checkpoints/12: .*another shape \(mlp 64 → 96\)"):
        _train(other, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": tiny.model(vocab_size=256)},
            r"config\.model\.vocab_size=256, but the data set's .* has 128 entries",
        ),
        ({"mesh": MeshConfig(fsdp=3)}, r"config\.mesh: .*fsdp=3 × .* does not fit 1 devices"),
        ({"train": TrainSettings(loss_chunks=3)}, r"config\.train\.loss_chunks=3 does not divide .*sequences of 8"),
    ],
)
def test_configs_that_do_not_fit(config, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        _train(dataclasses.replace(config, **changes), tmp_path)
    assert not (tmp_path / "journal.jsonl").exists()


def test_rows_of_several_lengths(tmp_path):
    """Each length is a step of its own shape, with the same tokens; resuming within a block changes nothing."""
    dataset = make_varied_dataset(tmp_path / "data", blocks=2, rows={16: 8, 8: 16, 4: 32})
    store = BlockStore(dataset)
    config = dataclasses.replace(
        _config(dataset),
        data=DataSettings(dataset, num_blocks=2, wait_s=0.0),
        checkpoint=CheckpointConfig(every_steps=4),
    )
    assert [store.info.steps(block, BATCH) for block in range(2)] == [6, 6]
    whole = tmp_path / "whole"
    assert _train(config, whole).step == 12
    lines = _lines(whole)
    assert lines[-1]["step"] == 12
    tokens = config.train.batch * 16 * config.train.log_every
    for line in lines:  # FLOPs follow the lengths that were read, tokens do not
        flops = line["mfu"] / line["tokens_per_s"] * 1e12 * tokens
        between = [tokens * cost.train_flops_per_token(tiny.model(), length) for length in (4, 16)]
        assert between[0] - 1 <= flops <= between[1] + 1
    stopped = tmp_path / "stopped"
    shutil.copytree(whole, stopped)
    for step in (6, 8, 12):
        shutil.rmtree(stopped / "checkpoints" / str(step))
    assert _train(config, stopped).step == 12
    tiny.assert_equal(_state(config, stopped, 12).params, _state(config, whole, 12).params)
