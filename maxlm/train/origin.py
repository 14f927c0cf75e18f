"""What a run starts from: nothing, its own folder, or another run, whose model it then has."""

import os
from typing import Any

from etils import epath

from maxlm import config as configs
from maxlm.blocks.reader import BlockStore
from maxlm.errors import CheckpointError, ConfigError, DataError, did_you_mean
from maxlm.journal import Journal
from maxlm.models.config import ModelConfig
from maxlm.parallel.distributed import of_first
from maxlm.paths import PathLike, as_path, read_json
from maxlm.train.checkpoint import Checkpoints, Position, choose_step, read_meta
from maxlm.train.config import BranchSettings, Config
from maxlm.train.stages import Start

# How a model is computed is the machine's affair, and how many rows its vocabulary has the data set's; all else is
# what it is.
_NOT_TAKEN = (
    "vocab_size", "dtype", "matmul", "attention", "scan_layers", "remat", "pipeline_microbatches", "pipeline_repeats",
)  # fmt: skip


def with_model_of_origin(config: Config, workdir: PathLike) -> Config:
    """The config of a run, with the model of what it goes on from in every key that the config leaves at its default.

    A run that has checkpoints goes on from itself, another from config.branch.run. Keys that the config sets stay as
    it sets them: a larger RoPE base is meant; another shape is refused where the parameters are restored.

    Raises:
      ConfigError: config.branch.run is no run, or has no such step.
      DataError: a file of that run is damaged.
    """
    theirs = _model_of_origin(config.branch, workdir)
    mine, defaults = configs.to_dict(config.model), configs.to_dict(ModelConfig())
    taken = {
        key: value for key, value in theirs.items() if key not in _NOT_TAKEN and mine.get(key) == defaults.get(key)
    }
    return configs.with_changes(config, {f"model.{key}": value for key, value in taken.items()}, "the model's config")


def has_checkpoints(workdir: PathLike) -> bool:
    return bool(_steps(workdir))


def begin_of(branch: BranchSettings, journal: Journal, store: BlockStore) -> Start:
    """Where a run began, or is to begin.

    Raises:
      CheckpointError: the other run has no such checkpoint, or one within a block.
    """
    for event in journal.read():
        if event["event"] == "branched":
            return Start(event["block"], event["step"], event["blocks_done"], event["stage"], event["from_step"])
    if not branch.run:
        return Start()
    source = Checkpoints(branch.run)
    # The other run may be at work, and processes look at different moments.
    step = of_first(choose_step(source, None if branch.step < 0 else branch.step))
    meta = source.meta(step)
    source.close()
    position = meta.position
    if position.batch:
        raise CheckpointError(
            f"{branch.run}: the checkpoint of step {position.step} stands in the middle of a block; branch from one at "
            "a block's end"
        )
    same = meta.config.get("data", {}).get("dataset") == os.fspath(store.dataset)
    if branch.fresh or not same:
        position = Position(step=0 if branch.fresh else position.step)
    return Start(position.block, position.step, position.blocks_done, branch.stage, from_step=step)


def _model_of_origin(branch: BranchSettings, workdir: PathLike) -> dict[str, Any]:
    """config.model, plain, of the run that is gone on from; {} for one that begins with nothing."""
    if has_checkpoints(workdir):
        return _planned_model(as_path(workdir))
    if not branch.run:
        return {}
    steps = _steps(branch.run)
    if not steps:
        raise ConfigError(f"--from={branch.run}: not a run (no checkpoints)")
    if branch.step >= 0 and branch.step not in steps:
        raise ConfigError(
            f"--from-step: {branch.run} has no checkpoint of step {branch.step}"
            f"{did_you_mean(str(branch.step), map(str, steps))}"
        )
    if not branch.fresh:  # the plan of the whole run goes on, in which stages have their changes
        return _planned_model(as_path(branch.run))
    step = branch.step if branch.step >= 0 else steps[-1]
    return read_meta(as_path(branch.run) / "checkpoints" / str(step)).config.get("model", {})


def _planned_model(run: epath.Path) -> dict[str, Any]:
    path = run / "config.json"
    model = read_json(path, "config of the run").get("model")
    if not isinstance(model, dict):
        raise DataError(f"{path}: no config of a run: config.model is no group of keys")
    return model


def _steps(run: PathLike) -> list[int]:
    """Of complete checkpoints, without opening them: nothing of jax may run before a group of processes has met."""
    folder = as_path(run) / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.exists() else []
