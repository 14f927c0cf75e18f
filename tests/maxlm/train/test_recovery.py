"""A run that meets a bad block leaves it out by itself, and ends where one does that never saw it."""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from maxlm.blocks.format import RowFormat, Rows
from maxlm.blocks.reader import BlockStore
from maxlm.errors import UserError
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.config import SpikeConfig, WatchConfig
from maxlm.report.collect import collect_run
from maxlm.report.goodput import goodput_of
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.config import CheckpointConfig, Config, DataSettings, OptimizerConfig, TrainSettings
from maxlm.train.history import journal_of, trained_blocks
from maxlm.train.loop import train
from maxlm.train.recovery import train_and_recover
from maxlm.train.rollback import plan_rollback, roll_back
from tests import tiny
from tests.synthetic import make_dataset, write_rows

SEQ_LEN, ROWS, PLANTED = 16, 64, 2


def _plant(dataset: Path, block: int) -> None:
    """Puts a block of tokens drawn anyhow in the place of one that can be learnt."""
    rng, shape = np.random.default_rng(7), (ROWS, SEQ_LEN + 1)
    starts = np.zeros(shape, bool)
    starts[:, 0] = True
    rows = Rows(rng.integers(tiny.VOCAB, size=shape), starts, np.ones(shape, bool), np.zeros(shape, np.uint8))
    folder = dataset / "blocks" / f"block-{block:05d}"
    shutil.rmtree(folder)
    write_rows(folder, RowFormat(SEQ_LEN, tiny.VOCAB), rows, block, "0" * 64)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder, blocks=4, rows=ROWS, seq_len=SEQ_LEN)
    _plant(folder, PLANTED)
    return Config(
        model=tiny.model(vocab_size=0),
        data=DataSettings(str(folder), num_blocks=3, wait_s=0.0),
        optimizer=OptimizerConfig(learning_rate=2e-2),
        train=TrainSettings(batch=2, log_every=4, peak_flops=1e12),
        watch=WatchConfig(loss=SpikeConfig("rollback", window=32, threshold=4.0, in_a_row=2)),
    )


class _StoppedError(Exception):
    """What ends a run after its second block."""


def _by_hand(config: Config, workdir: Path) -> None:
    """Two blocks, then a person leaves out the third."""

    def make_evaluate(config, store, model, mesh, length):
        calls = iter(range(2))

        def evaluate(params, reference):
            if next(calls) == 1:
                raise _StoppedError
            return {"validation/loss": 0.0}

        return evaluate

    store, devices = BlockStore(config.data.dataset), jax.devices()[:1]
    with pytest.raises(_StoppedError):
        train(config, workdir, store, make_evaluate, devices=devices)
    checkpoints = Checkpoints(workdir)
    plan = plan_rollback(checkpoints, journal_of(workdir), PLANTED - 1, skip=True)
    checkpoints.close()
    roll_back(workdir, config.data.dataset, plan)
    train(config, workdir, store, devices=devices)


def _params(config: Config, workdir: Path, step: int | None = None) -> dict:
    model = DecoderFunction(dataclasses.replace(config.model, vocab_size=tiny.VOCAB))
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    place = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
    checkpoints = Checkpoints(workdir)
    step = checkpoints.steps()[-1] if step is None else step
    params = checkpoints.restore_params(step, jax.tree.map(place, model.abstract_params()))
    checkpoints.close()
    return params


def test_a_planted_block_is_left_out(config, tmp_path):
    devices = jax.devices()[:1]
    train_and_recover(config, tmp_path / "run", BlockStore(config.data.dataset), devices=devices)
    journal = journal_of(tmp_path / "run")
    assert trained_blocks(journal) == [0, 1, 3]
    (rollback,) = [event for event in journal.read() if event["event"] == "rollback"]
    assert (rollback["to_block"], rollback["skipped"]) == (PLANTED - 1, [PLANTED])
    assert "loss" in rollback["alarm"]
    assert "is above" in rollback["alarm"]
    assert collect_run(tmp_path / "run").state == "finished"
    account = goodput_of(tmp_path / "run")
    assert account is not None
    assert account.starts == 2
    _by_hand(config, tmp_path / "by-hand")
    tiny.assert_equal(_params(config, tmp_path / "run"), _params(config, tmp_path / "by-hand"))


@pytest.fixture(scope="module")
def skipping(config) -> Config:
    return dataclasses.replace(
        config,
        checkpoint=CheckpointConfig(keep=100, every_steps=4),
        watch=WatchConfig(loss=SpikeConfig("skip", window=32, threshold=4.0), max_skipped=100),
    )


@pytest.fixture(scope="module")
def skipped(skipping, tmp_path_factory) -> Path:
    """A run that applies no update of the planted block."""
    workdir = tmp_path_factory.mktemp("skipped")
    train(skipping, workdir, BlockStore(skipping.data.dataset), devices=jax.devices()[:1])
    return workdir


def test_updates_of_a_planted_block_are_left_out(skipping, skipped):
    """Until such a loss has become the usual one, after half a window."""
    assert trained_blocks(journal_of(skipped)) == [0, 1, 2]
    alarms = [event for event in journal_of(skipped).read() if event["event"] == "alarm"]
    assert {event["policy"] for event in alarms} == {"skip"}
    left_out = {event["step"] for event in alarms if "again: the batch" in event["detail"]}
    first = PLANTED * ROWS // 2  # the last step before the block
    assert left_out >= set(range(first + 1, first + 1 + 4))
    tiny.assert_equal(_params(skipping, skipped, first + 4), _params(skipping, skipped, first))


def test_an_interruption_leaves_out_the_same_updates(skipping, skipped, tmp_path):
    """Killed among the steps that are left out: what was seen before is not forgotten."""
    shutil.copytree(skipped, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        if int(path.name) > PLANTED * ROWS // 2 + 4:
            shutil.rmtree(path)
    train(skipping, tmp_path / "run", BlockStore(skipping.data.dataset), devices=jax.devices()[:1])
    tiny.assert_equal(_params(skipping, tmp_path / "run"), _params(skipping, skipped))


def test_a_run_does_not_go_back_for_ever(config, tmp_path):
    eager = dataclasses.replace(
        config, watch=WatchConfig(loss=SpikeConfig("rollback", window=32, threshold=4.0, in_a_row=2), max_rollbacks=0)
    )
    with pytest.raises(UserError, match=r"step \d+: loss .*: 0 blocks have been left out .*max_rollbacks=0; look"):
        train_and_recover(eager, tmp_path, BlockStore(config.data.dataset), devices=jax.devices()[:1])
    assert trained_blocks(journal_of(tmp_path)) == [0, 1]
