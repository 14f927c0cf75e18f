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
from maxlm.train.config import Config, DataSettings, OptimizerConfig, TrainSettings
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

        def evaluate(params):
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


def _params(config: Config, workdir: Path) -> dict:
    model = DecoderFunction(dataclasses.replace(config.model, vocab_size=tiny.VOCAB))
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    place = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
    checkpoints = Checkpoints(workdir)
    params = checkpoints.restore_params(checkpoints.steps()[-1], jax.tree.map(place, model.abstract_params()))
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


def test_a_run_does_not_go_back_for_ever(config, tmp_path):
    eager = dataclasses.replace(
        config, watch=WatchConfig(loss=SpikeConfig("rollback", window=32, threshold=4.0, in_a_row=2), max_rollbacks=0)
    )
    with pytest.raises(UserError, match=r"step \d+: loss .*: 0 blocks have been left out .*max_rollbacks=0; look"):
        train_and_recover(eager, tmp_path, BlockStore(config.data.dataset), devices=jax.devices()[:1])
    assert trained_blocks(journal_of(tmp_path)) == [0, 1]
