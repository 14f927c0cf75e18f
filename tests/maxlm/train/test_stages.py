"""Stages: planned lengths and learning rates; staged runs, bit for bit what their stages are one after the other."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.blocks.manifest import DatasetInfo
from maxlm.blocks.reader import BlockStore
from maxlm.errors import CheckpointError, ConfigError
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.parallel.mesh import MeshConfig, batch_sharding
from maxlm.report.collect import collect_run
from maxlm.train.checkpoint import Checkpoints, Position
from maxlm.train.config import (
    BranchSettings,
    Config,
    DataSettings,
    OptimizerConfig,
    ScheduleConfig,
    StageSettings,
    TrainSettings,
)
from maxlm.train.history import journal_of
from maxlm.train.loader import BlockFeed
from maxlm.train.loop import train
from maxlm.train.optimizer import make_optimizer
from maxlm.train.rollback import plan_rollback, roll_back
from maxlm.train.stages import Start, plan_stages, stage_of
from maxlm.train.state import TrainState, abstract_state, init_state
from maxlm.train.step import make_train_step
from tests import tiny
from tests.synthetic import make_varied_dataset

PEAK = 1e-2
_START = Start()
INFO = DatasetInfo("0" * 64, 128, 16, ({"16": 8},), ("en",))  # blocks of 128 tokens


def _plan(stages: list[dict], count: int = 6, info: DatasetInfo = INFO, start: Start = _START, **fields: Any):
    settings = tuple(StageSettings(**stage) for stage in stages)
    config = Config(
        model=tiny.model(),
        optimizer=OptimizerConfig(learning_rate=PEAK),
        train=TrainSettings(batch=2),
        data=DataSettings(num_blocks=count),
        stages=settings,
        **fields,
    )
    return plan_stages(config, info, range(start.block, start.block + count - start.blocks_done), start)


def test_a_run_without_stages_is_one():
    (stage,) = _plan([])
    assert (stage.name, stage.blocks, stage.first_step, stage.steps) == ("main", tuple(range(6)), 0, 24)


def test_lengths_in_blocks_and_in_tokens():
    stages = _plan([{"name": "a", "blocks": 2}, {"name": "b", "tokens": 200}, {"name": "c"}])
    assert [stage.blocks for stage in stages] == [(0, 1), (2, 3), (4, 5)]  # 200 tokens are 1.6 blocks
    assert [(stage.first_step, stage.steps) for stage in stages] == [(0, 8), (8, 8), (16, 8)]
    assert [stage_of(stages, block).name for block in (0, 1, 2, 3, 4, 5, 6)] == list("aabbccc")


def test_a_block_left_out_shortens_its_own_stage():
    config = Config(model=tiny.model(), stages=(StageSettings("a", blocks=3), StageSettings("b")))
    stages = plan_stages(config, INFO, [0, 2, 3, 4, 5, 6])
    assert [stage.blocks for stage in stages] == [(0, 2), (3, 4, 5, 6)]


def test_stages_share_the_schedule_unless_they_have_one_of_their_own():
    """Wsd without decay over all but the last stage, which goes down to nothing from its first step to its last."""
    decay = {"schedule.name": "linear", "optimizer.learning_rate": PEAK / 2}
    stages = _plan(
        [
            {"name": "a", "blocks": 2},
            {"name": "b", "blocks": 2, "changes": {"train.batch": 4}},
            {"name": "c", "changes": decay},
        ],
        schedule=ScheduleConfig(warmup_share=0.5, decay_share=0.0),
    )  # fmt: skip
    assert [stage.steps for stage in stages] == [8, 4, 8]
    rates = np.array([float(stage_of(stages, step // 4 if step < 8 else 2 + (step - 8) // 2 if step < 12 else 4)
                            .schedule(step)) for step in range(20)])  # fmt: skip
    np.testing.assert_allclose(rates[:6], PEAK * np.arange(1, 7) / 6, rtol=1e-6)  # half of the twelve shared steps
    np.testing.assert_allclose(rates[6:12], PEAK, rtol=1e-6)
    np.testing.assert_allclose(rates[12:], PEAK / 2 * (1 - np.arange(8) / 8), rtol=1e-6)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 7), st.integers(1, 9))
def test_all_blocks_and_steps_are_in_one_stage(lengths, first, rest):
    stages = [{"name": str(i), "blocks": blocks} for i, blocks in enumerate(lengths)] + [{"name": "last"}]
    count = sum(lengths) + rest
    planned = _plan(stages, count, start=Start(block=first, step=3 * first))
    assert [block for stage in planned for block in stage.blocks] == list(range(first, first + count))
    assert planned[0].first_step == 3 * first
    for before, after in itertools.pairwise(planned):
        assert after.first_step == before.end_step


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([{"name": "a"}, {"name": "b"}], r"config\.stages: 'a' needs a length"),
        ([{"name": "a", "blocks": 1}, {"name": "b", "tokens": 9}], r"'b' is the last and goes on until data\.num_blo"),
        ([{"name": "a", "blocks": 1}, {"name": "a"}], r"'a' is there twice"),
        ([{"name": "a", "blocks": 9}, {"name": "b"}], r"'b' would begin with block 9, but config\.data\.num_bloc"),
        ([{"name": "a", "blocks": 1, "tokens": 1}, {"name": "b"}], r"in blocks or in tokens"),
        ([{"name": ""}], "a stage without a name"),
        ([{"name": "a", "changes": {"model.embed": 64}}], r"'a': model\.embed can't change within a run: the model wo"),
        ([{"name": "a", "changes": {"checkpoint.keep": 2}}], r"checkpoint\.keep can't change within a run"),
        ([{"name": "a", "changes": {"optimizer.name": "lion"}}], r"the optimizer's state would be another"),
        ([{"name": "a", "changes": {"model.rope_bse": 1e6}}], r"unknown key 'rope_bse'.*rope_base"),
        ([{"name": "a", "changes": {"train.batch": "many"}}], r"train\.batch: expected int"),
        ([{"name": "a", "changes": {"train.accumulate": 0}}], r"accumulate: 0 is less than 1"),
    ],
)  # fmt: skip
def test_stages_that_can_not_be(stages, message):
    with pytest.raises(ConfigError, match=message):
        _plan(stages)


def test_a_branch_begins_with_the_stage_it_names():
    stages = [{"name": "stable", "blocks": 9}, {"name": "anneal", "changes": {"schedule.name": "linear"}}]
    planned = _plan(stages, 6, start=Start(block=4, step=16, blocks_done=4, stage="anneal"))
    assert [(stage.name, stage.blocks, stage.first_step) for stage in planned] == [("anneal", (4, 5), 16)]
    with pytest.raises(ConfigError, match=r"no stage 'aneal'.*anneal"):
        _plan(stages, 6, start=Start(stage="aneal"))


# Whole runs: two blocks of short rows, then two of rows twice as long.
SHORT, LONG, BLOCKS = 8, 16, 4
STEPS = (2, 4)  # steps of a block: 8 rows of 16 in steps of 4, and of 2


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("staged")
    return make_varied_dataset(folder / "data", blocks=6, rows={SHORT: 16}, later={2: {LONG: 8}})


@pytest.fixture(scope="module")
def config(dataset) -> Config:
    changes = {"model.rope_base": 1e6, "train.batch": 2, "schedule.name": "linear"}
    return Config(
        model=tiny.model(vocab_size=0),
        data=DataSettings(dataset, num_blocks=BLOCKS, wait_s=0.0),
        optimizer=OptimizerConfig(learning_rate=PEAK),
        schedule=ScheduleConfig(warmup_share=0.25, decay_share=0.0),
        train=TrainSettings(batch=4, log_every=1, peak_flops=1e12),
        stages=(StageSettings("short", blocks=2), StageSettings("later", changes=changes)),
    )


def _train(config: Config, workdir: Path, devices: int = 1, evaluate: Any = None) -> Position:
    return train(config, workdir, BlockStore(config.data.dataset), evaluate, jax.devices()[:devices])


def _state(config: Config, workdir: Path, step: int) -> TrainState:
    model = DecoderFunction(dataclasses.replace(config.model, vocab_size=tiny.VOCAB))
    tx = make_optimizer(config.optimizer, lambda _: 0.0)
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(step, abstract_state(model, tx, tiny.one_device()))
    checkpoints.close()
    return state


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("whole")
    assert _train(config, workdir) == Position(12, BLOCKS, BLOCKS, 0, finished_block=BLOCKS - 1)
    return workdir


def _by_hand(config: Config, blocks: tuple[list[int], ...]) -> TrainState:
    """The stages' blocks, by the plainest loop that there is."""
    mesh, state, seen = tiny.one_device(), None, 0
    for settings, mine in zip(config.stages, blocks, strict=True):
        base = settings.changes.get("model.rope_base", 10_000.0)
        batch = settings.changes.get("train.batch", config.train.batch)
        model = DecoderFunction(dataclasses.replace(config.model, vocab_size=tiny.VOCAB, rope_base=base))
        store = BlockStore(config.data.dataset)
        steps = sum(store.info.steps(block, batch) for block in mine)

        def rate(step, steps=steps, seen=seen, settings=settings):
            if settings.name == "short":
                return jax.numpy.minimum(PEAK, PEAK * (step + 1))  # a quarter of four steps is one
            return PEAK * (1 - (step - seen) / steps)

        tx = make_optimizer(config.optimizer, rate)
        feed = BlockFeed(store, batch=batch, seed=0, verify=False, wait_s=0.0)
        with jax.set_mesh(mesh):
            state = init_state(model, tx, mesh, 0) if state is None else state
            step = make_train_step(model, tx, rate, TrainSettings(batch=batch), mesh, num_domains=2)
            for block in mine:
                batches = feed.open(block)
                for index in range(len(batches)):
                    state, _ = step(state, jax.device_put(batches[index], batch_sharding(mesh)), NO_LIMITS)
        feed.close()
        seen += steps
    assert state is not None
    return state


def _assert_close(found: TrainState, expected: TrainState, tolerance: float) -> None:
    assert int(found.step) == int(expected.step)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance), found.params, expected.params)


def test_a_staged_run_is_its_stages_one_after_the_other(config, whole):
    _assert_close(_state(config, whole, 12), _by_hand(config, ([0, 1], [2, 3])), 1e-6)


def test_the_next_stage_is_one_line_of_the_journal(config, whole):
    events = [event for event in journal_of(whole).read() if event["event"] in ("run_started", "stage_started")]
    assert [(event["event"], event.get("stage"), event["step"]) for event in events] == [
        ("run_started", None, 0), ("stage_started", "short", 0), ("stage_started", "later", 4),
    ]  # fmt: skip
    assert [stage["stage"] for stage in collect_run(whole).stages] == ["short", "later"]
    checkpoints = Checkpoints(whole)
    bases = {step: checkpoints.meta(step).config["model"]["rope_base"] for step in checkpoints.steps()}
    checkpoints.close()
    assert bases == {2: 1e4, 4: 1e4, 8: 1e6, 12: 1e6}  # each says what it was trained with


@pytest.mark.parametrize("step", [2, 4, 8])
def test_killed_in_any_stage_and_resumed(config, whole, tmp_path, step):
    shutil.copytree(whole, tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        if int(path.name) > step:
            shutil.rmtree(path)
    _train(config, tmp_path / "run")
    tiny.assert_equal(_state(config, tmp_path / "run", 12), _state(config, whole, 12))
    began = [e["step"] for e in journal_of(tmp_path / "run").read() if e["event"] == "stage_started"]
    assert began == ([0, 4, 4] if step == 2 else [0, 4])


def test_rolled_back_into_the_stage_before(config, whole, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    checkpoints = Checkpoints(workdir)
    plan = plan_rollback(checkpoints, journal_of(workdir), 0, skip=True)
    checkpoints.close()
    roll_back(workdir, config.data.dataset, plan)
    assert _train(config, workdir).step == 2 + 3 * 4  # block 1 is left out, and block 4 is read instead
    blocks = [e["block"] for e in journal_of(workdir).read() if e["event"] == "block_started"]
    assert blocks[4:] == [2, 3, 4]


def test_stages_on_meshes_of_their_own(config, whole, tmp_path):
    """Short rows over data, long ones over context too."""
    short, later = config.stages
    later = dataclasses.replace(later, changes={**later.changes, "mesh.data": 2, "mesh.context": 2, "mesh.fsdp": 1})
    spread = dataclasses.replace(config, mesh=MeshConfig(data=4, fsdp=1), stages=(short, later))
    _train(spread, tmp_path, devices=4)
    _assert_close(_state(config, tmp_path, 12), _state(config, whole, 12), 2e-4)


def test_blocks_made_for_another_stage_are_refused(config, tmp_path):
    shifted = (StageSettings("short", blocks=3), config.stages[1])
    with pytest.raises(ConfigError, match=r"block 2 would be read by stage 'short', .* made it for 'later'"):
        _train(dataclasses.replace(config, stages=shifted), tmp_path)


def test_several_budgets_from_one_stable_run(config, whole, tmp_path):
    """Each branch decays from the same checkpoint in a folder of its own, and needs the first run no more."""
    source = tmp_path / "stable"
    shutil.copytree(whole, source)
    before = sorted(path.name for path in (source / "checkpoints").iterdir())
    branch = BranchSettings(str(source), step=4, stage="later")
    for blocks, end in ((3, 8), (5, 16)):
        shorter = dataclasses.replace(config, data=dataclasses.replace(config.data, num_blocks=blocks), branch=branch)
        workdir = tmp_path / f"budget-{blocks}"
        assert _train(shorter, workdir) == Position(end, blocks, blocks, 0, finished_block=blocks - 1)
        (line,) = [event for event in journal_of(workdir).read() if event["event"] == "branched"]
        assert (line["from_step"], line["block"], line["stage"]) == (4, 2, "later")
        expected = _by_hand(config, ([0, 1], list(range(2, blocks))))
        _assert_close(_state(config, workdir, end), expected, 1e-6)
        assert collect_run(workdir).blocks_done == blocks
    assert sorted(path.name for path in (source / "checkpoints").iterdir()) == before
    shutil.rmtree(source)
    workdir = tmp_path / "budget-5"
    undisturbed = _state(config, workdir, 16)
    shutil.rmtree(workdir / "checkpoints" / "16")
    assert _train(shorter, workdir).step == 16
    tiny.assert_equal(_state(config, workdir, 16), undisturbed)


def test_a_fresh_branch_takes_the_parameters_alone(config, whole, tmp_path):
    branch = BranchSettings(str(whole), step=4, fresh=True)
    plain = dataclasses.replace(config, stages=(), branch=branch, data=dataclasses.replace(config.data, num_blocks=1))
    assert _train(plain, tmp_path).step == 2
    first = _state(config, tmp_path, 0)
    tiny.assert_equal(first.params, _state(config, whole, 4).params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(first.opt_state))


def test_a_branch_that_can_not_be(config, whole, tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint of step 5"):
        _train(dataclasses.replace(config, branch=BranchSettings(str(whole), step=5)), tmp_path)
    other = dataclasses.replace(config, model=tiny.model(vocab_size=0, mlp=96), branch=BranchSettings(str(whole)))
    other = dataclasses.replace(other, data=dataclasses.replace(config.data, num_blocks=BLOCKS + 1))
    with pytest.raises(CheckpointError, match=r"another shape \(mlp 64 → 96\)"):
        _train(other, tmp_path / "b")


def test_config_of_the_run_tells_its_stages(config, whole):
    saved = json.loads((whole / "config.json").read_text())
    assert [stage["name"] for stage in saved["stages"]] == ["short", "later"]
