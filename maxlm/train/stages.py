"""The stages of a run: which blocks, steps, keys of the config and learning rates each of them has.

A stage covers consecutive blocks of the data set. Which text and how long rows those hold, the data process decided
(config.stages of the data); here stands what the training process does with them: batch, RoPE base, mesh, schedule.

A stage that changes a key of `schedule` or the learning rate has a schedule of its own, from its first step to its
last, without warm-up unless it asks for one. All other stages share the run's schedule, which spans them together.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optax

from maxlm import config as configs
from maxlm.blocks.manifest import DatasetInfo
from maxlm.errors import ConfigError, did_you_mean
from maxlm.train.config import Config, StageSettings
from maxlm.train.schedules import make_schedule

_ONLY = "main"  # the stage of a run that names none
_OWN_SCHEDULE = ("schedule.", "optimizer.learning_rate")
# What stays the same in all stages, and why.
_FIXED = {
    **dict.fromkeys(("stages", "branch", "checkpoint", "watch", "profile", "wandb"), "it is the run's"),
    **dict.fromkeys(("data.dataset", "data.num_blocks"), "it is the run's; `maxlm train --from=RUN` changes it"),
    "train.seed": "parameters are made once",
    **dict.fromkeys(
        (
            "optimizer.name", "optimizer.ema_decay", "optimizer.freeze", "optimizer.lora_rank", "optimizer.lora_alpha",
            "optimizer.lora_on", "train.loss",
        ),
        "the optimizer's state would be another",
    ),
    **dict.fromkeys(
        (
            "model.vocab_size", "model.embed", "model.num_layers", "model.num_heads", "model.num_kv_heads",
            "model.head_dim", "model.mlp", "model.mlp_kind", "model.norm", "model.bias", "model.qk_norm",
            "model.position", "model.max_positions", "model.tie_embeddings", "model.init_std", "model.mup_base_embed",
            "model.mup_base_layers",
        ),
        "the model would be another",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Start:
    """Where a run begins: at nothing, or at the checkpoint of another run."""

    block: int = 0
    step: int = 0
    blocks_done: int = 0
    stage: str = ""  # the one to begin with; "": the one that `block` belongs to
    from_step: int = -1  # of the other run's checkpoint; -1: none


@dataclass(frozen=True)
class Stage:
    """A part of a run, planned."""

    name: str
    config: Config  # with the stage's changes
    blocks: tuple[int, ...]  # to be read, in order, those left out left out
    first_step: int  # steps of the run before it
    steps: int
    schedule: optax.Schedule  # learning rate by the run's step

    @property
    def end_step(self) -> int:
        return self.first_step + self.steps

    def rows(self, info: DatasetInfo) -> dict[int, int]:
        """Rows in a step, by their length: {tokens: rows}, the longest first."""
        lengths = sorted({length for block in self.blocks for length in info.rows_in(block)}, reverse=True)
        return {length: info.batch_of(length, self.config.train.batch) for length in lengths}


def plan_stages(
    config: Config,
    info: DatasetInfo,
    blocks: Sequence[int],
    start: Start = Start(),
    began: Mapping[str, int] | None = None,
    scale: float = 1.0,
) -> tuple[Stage, ...]:
    """The stages that a run goes through.

    Args:
      blocks: all that the run reads, in order.
      began: the step at which a stage did begin, where it has; the others follow one another.
      scale: what all learning rates are multiplied with.

    Raises:
      ConfigError: stages that can't be: lengths, names, keys that stay the same in all.
    """
    settings = _named(config, start)
    spans = _split(settings, info, blocks)
    own = [any(key.startswith(_OWN_SCHEDULE) for key in stage.changes) for stage in settings]
    changed = [_changed(config, stage, mine) for stage, mine in zip(settings, own, strict=True)]
    steps = [sum(info.steps(b, c.train.batch) for b in span) for c, span in zip(changed, spans, strict=True)]
    shared = sum(count for count, mine in zip(steps, own, strict=True) if not mine)
    base = make_schedule(config.optimizer.learning_rate, config.schedule, shared)
    stages: list[Stage] = []
    first, before = start.step, 0
    for stage, with_changes, span, count, mine in zip(settings, changed, spans, steps, own, strict=True):
        first = (began or {}).get(stage.name, first)
        if mine:
            rates = make_schedule(with_changes.optimizer.learning_rate, with_changes.schedule, count)
            schedule = _shifted(rates, first, scale)
        else:
            schedule = _shifted(base, first - before, scale)
            before += count
        stages.append(Stage(stage.name, with_changes, tuple(span), first, count, schedule))
        first += count
    return tuple(stages)


def stage_of(stages: Sequence[Stage], block: int) -> Stage:
    """The stage that reads `block`; the last one for what lies beyond."""
    for stage in stages:
        if stage.blocks and block <= stage.blocks[-1]:
            return stage
    return stages[-1]


def check_same_stage(stages: Sequence[Stage], block: int, name: str) -> None:
    """Raises ConfigError if the data process made `block` for another stage of this run than the one that reads it."""
    mine = stage_of(stages, block).name
    if name != mine and name in (stage.name for stage in stages):
        raise ConfigError(
            f"config.stages: block {block} would be read by stage {mine!r}, and the data process made it for {name!r}; "
            "give the stages the same lengths on both sides"
        )


def _shifted(schedule: optax.Schedule, first: int, scale: float) -> optax.Schedule:
    return lambda step: scale * schedule(step - first)


def _named(config: Config, start: Start) -> list[StageSettings]:
    """The stages from the first one of this run on."""
    settings = list(config.stages) or [StageSettings(_ONLY)]
    names = [stage.name for stage in settings]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ConfigError(f"config.stages: {twice[0]!r} is there twice; journals tell stages by their names")
    for stage in settings[:-1]:
        if not (stage.blocks or stage.tokens):
            raise ConfigError(
                f"config.stages: {stage.name!r} needs a length (blocks or tokens); only the last has none"
            )
    if settings[-1].blocks or settings[-1].tokens:
        raise ConfigError(
            f"config.stages: {names[-1]!r} is the last and goes on until data.num_blocks are done; leave its length out"
        )
    if not start.stage:
        return settings
    if start.stage not in names:
        raise ConfigError(f"config.stages: no stage {start.stage!r}{did_you_mean(start.stage, names)}")
    return settings[names.index(start.stage) :]


def _split(settings: Sequence[StageSettings], info: DatasetInfo, blocks: Sequence[int]) -> list[list[int]]:
    """The blocks of each stage. A stage ends at a block's number, so that one left out shortens its own stage alone."""
    first = blocks[0] if blocks else 0
    ends = []
    for stage in settings[:-1]:
        first = first + stage.blocks if stage.blocks else _end_by_tokens(stage.tokens, info, first)
        ends.append(first)
    if ends and (not blocks or ends[-1] > blocks[-1]):
        raise ConfigError(
            f"config.stages: {settings[-1].name!r} would begin with block {ends[-1]}, but config.data.num_blocks ends "
            f"the run before it; the stages before it are {ends[-1] - (blocks[0] if blocks else 0)} blocks long"
        )
    spans: list[list[int]] = [[] for _ in settings]
    for block in blocks:
        spans[sum(end <= block for end in ends)].append(block)
    return spans


def _end_by_tokens(tokens: int, info: DatasetInfo, first: int) -> int:
    """The end of a stage of about so many tokens: at least a block, and the last one if its middle lies within."""
    seen, block = 0, first
    while True:
        size = sum(length * rows for length, rows in info.rows_in(block).items())
        if block > first and seen + size / 2 > tokens:
            return block
        seen, block = seen + size, block + 1


def _changed(config: Config, stage: StageSettings, own_schedule: bool) -> Config:
    """The config with the stage's changes, itself without stages."""
    where = f"config.stages: {stage.name!r}"
    for key in stage.changes:
        for fixed, why in _FIXED.items():
            if key == fixed or key.startswith(f"{fixed}."):
                raise ConfigError(f"{where}: {key} can't change within a run: {why}")
    changes = {"schedule.warmup_share": 0.0, **stage.changes} if own_schedule else stage.changes
    return configs.with_changes(dataclasses.replace(config, stages=()), changes, where)
