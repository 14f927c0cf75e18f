"""What a run is made of, and how it is taken up: from nothing, from its newest checkpoint, or from another run's."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from rich.console import Console

from maxlm import config as configs
from maxlm.blocks.reader import BlockStore, ReaderPosition, report_progress, tell_skips
from maxlm.errors import CheckpointError, ConfigError, DamagedCheckpointError, StoppedError
from maxlm.journal import Journal
from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.clock import Clock
from maxlm.monitor.instruments import Instruments, MonitorConfig
from maxlm.monitor.tracking import Tracker
from maxlm.paths import PathLike, as_path, read_json, write_json
from maxlm.train.checkpoint import Checkpoints, Meta, Position, check_model, choose_step
from maxlm.train.config import Config, check_divides
from maxlm.train.corruption import Probe
from maxlm.train.hardware import peak_flops
from maxlm.train.history import (
    began_stages,
    blocks_from,
    journal_of,
    longest_known,
    lr_scale,
    next_block,
    oldest_block,
    reader_name,
    resume_position,
    skipped_blocks,
)
from maxlm.train.loader import BlockFeed
from maxlm.train.metrics import MetricsWriter, ProgressLine
from maxlm.train.optimizer import optimizer_for
from maxlm.train.origin import begin_of
from maxlm.train.retention import Saved, to_remove
from maxlm.train.stages import Stage, Start, plan_stages, stage_of
from maxlm.train.state import TrainState, abstract_state, begin_state, init_state
from maxlm.train.step import make_train_step
from maxlm.train.stopping import StopRequest
from maxlm.train.trainable import check_names, trained

# parameters; and those that a loss of pairs compares with, or None
Evaluate = Callable[[dict[str, Any], dict[str, Any] | None], dict[str, float]]
MakeEvaluate = Callable[[Config, BlockStore, DecoderFunction, Mesh, int], Evaluate]  # int: length of rows


@dataclass
class Run:
    """A run from its first stage to its last; nothing in here changes while it trains, but for `position`."""

    config: Config
    workdir: PathLike
    store: BlockStore
    stages: tuple[Stage, ...]
    checkpoints: Checkpoints
    journal: Journal
    line: ProgressLine
    clock: Clock
    instruments: Instruments
    metrics: MetricsWriter
    skipped: set[int]
    position: Position
    start: Start
    restores: bool  # whether it had a checkpoint when it was taken up
    stop: StopRequest
    changed: dict[str, Any]  # keys of the config that differ from the last time, with both values

    @property
    def stage(self) -> Stage:
        """The stage that reads the next block."""
        return stage_of(self.stages, self.position.block)

    @property
    def begins_trained(self) -> bool:
        """Whether it stands before its first step with a model that is trained, and has not been evaluated yet."""
        stands_at_start = self.position.step == self.start.step and not self.position.batch
        trained = self.restores or bool(self.config.branch.run)
        return stands_at_start and trained and all(event["event"] != "evaluated" for event in self.journal.read())

    @property
    def total_steps(self) -> int:
        return self.stages[-1].end_step

    @property
    def is_done(self) -> bool:
        return self.position.blocks_done >= self.config.data.num_blocks

    def close(self) -> None:
        self.stop.close()
        self.line.close()
        self.instruments.close()
        self.metrics.close()
        self.checkpoints.close()


@dataclass
class Trainer:
    """What a stage trains with."""

    stage: Stage
    mesh: Mesh
    model: DecoderFunction
    step: Callable
    feed: BlockFeed
    probe: Probe
    evaluate: Evaluate | None
    peak: float  # FLOP/s of all devices


def open_run(config: Config, workdir: PathLike, store: BlockStore, clock: Clock) -> Run:
    """Takes up the run in `workdir` where it stands; nothing is computed yet.

    Raises:
      ConfigError, CheckpointError: a config that does not fit the data set, or the run's checkpoints.
    """
    config = _resolved(config, store)
    first = jax.process_index() == 0  # of several processes, one writes journal, metrics and config
    checkpoints, journal = Checkpoints(workdir), journal_of(workdir, writes=first)
    skipped = skipped_blocks(journal)
    console, file, plain = Console(quiet=not first), as_path(workdir) / "config.json", configs.to_dict(config)
    start = begin_of(config.branch, journal, store)
    position = Position(start.step, start.blocks_done, next_block(start.block, skipped))
    meta, steps = _newest(checkpoints, journal, console), checkpoints.steps()
    if meta:
        check_model(meta, config.model, checkpoints.folder / str(steps[-1]))
        position = resume_position(meta.position, skipped)
    stages = _plan(config, store, journal, start, position)
    changed = configs.diff(read_json(file, "config of the run"), plain) if steps and file.exists() else {}
    for key, (before, after) in changed.items():
        console.print(f"config.{key} changed since the checkpoint: {before} → {after}", highlight=False)
    if first:
        write_json(file, plain)
        tell_skips(store.dataset, reader_name(workdir), skipped)  # a rollback that was killed told it otherwise
    line = ProgressLine(console, stages[-1].end_step, position.step)
    watched = MonitorConfig(config.profile, config.watch)
    instruments = Instruments(watched, workdir, clock, journal, store.info.domains, line.say)
    if meta:
        instruments.remember(meta.seen)
    tracker = Tracker(config.wandb, reader_name(workdir), plain, os.fspath(workdir)) if first else None
    return Run(
        config=config,
        workdir=workdir,
        store=store,
        stages=stages,
        checkpoints=checkpoints,
        journal=journal,
        line=line,
        clock=clock,
        instruments=instruments,
        metrics=MetricsWriter(workdir, position.step, clock, tracker, writes=first),
        skipped=skipped,
        position=position,
        start=start,
        restores=bool(steps),
        stop=StopRequest(),
        changed=changed,
    )


def _newest(checkpoints: Checkpoints, journal: Journal, console: Console) -> Meta | None:
    """What the newest checkpoint that can be read says of itself."""
    while steps := checkpoints.steps():
        try:
            return checkpoints.meta(steps[-1])
        except DamagedCheckpointError as error:
            pass_over(checkpoints, journal, error, console.print)
    return None


def _plan(config: Config, store: BlockStore, journal: Journal, start: Start, position: Position) -> tuple[Stage, ...]:
    if start.block and not start.stage:  # a branch that enters no other stage goes on with the plan of the whole run
        start = Start()
    to_read = blocks_from(start.block, config.data.num_blocks - start.blocks_done, skipped_blocks(journal))
    return plan_stages(config, store.info, to_read, start, began_stages(journal, position.step), lr_scale(journal))


def begin_stage(run: Run, mesh: Mesh, make_evaluate: MakeEvaluate | None, resumes: bool) -> tuple[Trainer, TrainState]:
    """All that the stage at hand trains with, and the state: restored, or fresh. Within ``jax.set_mesh(mesh)``.

    `resumes`: whether this is the first stage that this process works on.
    """
    stage, store = run.stage, run.store
    config, rows = stage.config, stage.rows(store.info)
    check_divides(config, mesh, rows)
    model = DecoderFunction(config.model)
    check_names(config.optimizer, model.abstract_params())
    tx = optimizer_for(config, stage.schedule)
    with run.clock.spending("restore"):
        state, verified = _state(run, config, model, tx, mesh)
        jax.block_until_ready(state)
    _tell_beginning(run, stage, mesh, resumes)
    if verified is not None:
        run.journal.append("verified", step=verified)
    data, train = config.data, config.train
    trainer = Trainer(
        stage=stage,
        mesh=mesh,
        model=model,
        step=run.clock.first_calls(
            make_train_step(model, tx, stage.schedule, train, mesh, num_domains=len(store.info.domains))
        ),
        feed=BlockFeed(
            store, batch=train.batch, seed=data.seed, verify=data.verify, wait_s=data.wait_s, say=run.line.say
        ),
        probe=Probe(model, tx, train, mesh, trained(config.optimizer)),
        evaluate=make_evaluate(config, store, model, mesh, next(iter(rows))) if make_evaluate else None,
        peak=mesh.size * peak_flops(mesh.devices.flat[0], config.model.dtype, train.peak_flops),
    )
    return trainer, state


def save(run: Run, trainer: Trainer, state: TrainState, position: Position) -> None:
    """Begins a checkpoint and says so in the journal."""
    model = trainer.model.config
    config = {**configs.to_dict(trainer.stage.config), "model": configs.to_dict(model)}
    with run.instruments.standing_still("checkpoint"):
        run.checkpoints.save(state, Meta(position, config, model.vocab_size, run.instruments.seen()))
    run.journal.append("checkpoint", step=position.step, finished_block=position.finished_block, batch=position.batch)


def retain(run: Run) -> None:
    """Removes the checkpoints that no rule of config.checkpoint keeps."""
    events = run.journal.read()
    losses = {event["step"]: event.get("validation/loss") for event in events if event["event"] == "evaluated"}
    verified = [event["step"] for event in events if event["event"] == "verified"]
    saved = []
    for step in run.checkpoints.steps():
        position = run.checkpoints.meta(step).position
        ends = position.batch == 0
        stage_end = ends and stage_of(run.stages, position.finished_block) is not stage_of(run.stages, position.block)
        saved.append(Saved(step, position.blocks_done, ends, stage_end, losses.get(step)))
    for step in to_remove(saved, run.config.checkpoint, verified[-1] if verified else -1):
        run.checkpoints.remove(step)


def leave(run: Run, step: int) -> None:
    """Ends the process in good order, as it was asked to.

    Raises:
      StoppedError: always.
    """
    run.checkpoints.wait()
    run.journal.append("stopped", step=step)
    raise StoppedError(f"stopped by SIGTERM after step {step}, which is saved; the same command goes on from there")


def pass_over(
    checkpoints: Checkpoints, journal: Journal, error: DamagedCheckpointError, say: Callable[[str], None]
) -> None:
    """Sets the newest checkpoint aside, which can't be used, so that the one before it is."""
    step = checkpoints.steps()[-1]
    aside = checkpoints.set_aside(step)
    journal.append("checkpoint_damaged", step=step, set_aside=os.fspath(aside), reason=str(error))
    say(f"WARNING: {error}; set aside as {aside}, going on from the checkpoint before it")


def tell_producer(run: Run, block: int, finished: bool) -> None:
    """Where the run stands, for the data process."""
    if jax.process_index() == 0:
        position = ReaderPosition(block, finished, oldest_block(run.checkpoints, block))
        report_progress(run.store.dataset, reader_name(run.workdir), position)


def _tell_beginning(run: Run, stage: Stage, mesh: Mesh, resumes: bool) -> None:
    position, journal = run.position, run.journal
    if resumes:
        journal.append(
            "resumed" if run.restores and position.step else "run_started",
            step=position.step,
            total_steps=run.total_steps,
            block=position.block,
            config_digest=configs.digest(configs.to_dict(run.config)),
            devices=f"{mesh.size} × {mesh.devices.flat[0].device_kind}",
            mesh=dict(mesh.shape),
            changed=run.changed,
        )
        tell_producer(run, position.block, finished=False)  # which then knows that somebody waits for the first block
    if run.config.stages and stage.name not in began_stages(journal, position.step):
        journal.append("stage_started", stage=stage.name, step=position.step, block=position.block, steps=stage.steps)
        run.line.say(f"stage {stage.name}: from step {position.step}, block {position.block}, {stage.steps} steps")


def _resolved(config: Config, store: BlockStore) -> Config:
    """The config with the data set's vocabulary and place filled in.

    Raises:
      ConfigError: the config asks for another vocabulary than the data set has.
    """
    if config.model.vocab_size not in (0, store.info.vocab_size):
        raise ConfigError(
            f"config.model.vocab_size={config.model.vocab_size}, but the data set's vocabulary has "
            f"{store.info.vocab_size} entries; leave it at 0 to take the data set's"
        )
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, vocab_size=store.info.vocab_size),
        # absolute, so that rollback and eval find it from anywhere
        data=dataclasses.replace(config.data, dataset=os.fspath(store.dataset)),
    )


def _state(
    run: Run, config: Config, model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh
) -> tuple[TrainState, int | None]:
    """The newest checkpoint's state on this mesh, and its step; without one, the branch's or a fresh one, and None."""
    steps = run.checkpoints.steps()
    if steps:
        meta = run.checkpoints.meta(steps[-1])
        if meta.position.batch:
            _check_same_batches(meta, config)
        return _restored(run.checkpoints, steps[-1], model, tx, mesh, config.train.seed), steps[-1]
    if config.branch.run:
        return _branched(run, config, model, tx, mesh), None
    return init_state(model, tx, mesh, config.train.seed), None


def _restored(
    checkpoints: Checkpoints,
    step: int,
    model: DecoderFunction,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    seed: int,
    fresh: bool = False,
) -> TrainState:
    """A checkpoint's state; with `fresh`, and of an imported model, the parameters with an optimizer that begins."""
    abstract = abstract_state(model, tx, mesh)
    if checkpoints.has_optimizer(step) and not fresh:
        return checkpoints.restore(step, abstract)
    return begin_state(checkpoints.restore_params(step, abstract.params), model, tx, mesh, seed)


def _branched(
    run: Run, config: Config, model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh
) -> TrainState:
    """The state of another run's checkpoint, written into this run's folder too: it then needs the other no more."""
    branch, start, source = config.branch, run.start, Checkpoints(config.branch.run)
    step = choose_step(source, start.from_step)  # the one that was planned from; the other run may be at work
    check_model(source.meta(step), config.model, source.folder / str(step))
    try:
        state = _restored(source, step, model, tx, mesh, config.train.seed, branch.fresh)
    except DamagedCheckpointError as error:  # not one of ours, to be set aside
        raise CheckpointError(f"{error}; name another with --from-step") from error
    source_config = source.config(step)
    source.close()
    run.journal.append(
        "branched",
        run=os.fspath(as_path(branch.run)),
        from_step=step,
        step=start.step,
        block=start.block,
        blocks_done=start.blocks_done,
        stage=start.stage,
        fresh=branch.fresh,
        max_length=longest_known(branch.run, source_config),
    )
    saved = {**configs.to_dict(config), "model": configs.to_dict(model.config)}
    position = dataclasses.replace(run.position, finished_block=start.block - 1)
    run.checkpoints.save(state, Meta(position, saved, model.config.vocab_size))
    run.checkpoints.wait()
    return state


def _check_same_batches(meta: Meta, config: Config) -> None:
    """Raises ConfigError if a checkpoint within a block would go on with other batches than it began with."""
    for key, saved, now in (
        ("train.batch", meta.config.get("train", {}).get("batch"), config.train.batch),
        ("data.seed", meta.config.get("data", {}).get("seed"), config.data.seed),
    ):
        if saved != now:
            raise ConfigError(
                f"config.{key}={now}, but the newest checkpoint stands in the middle of a block read with {saved}: "
                "rows would be read twice or not at all; finish the block first, or roll back to its start"
            )
