"""The training process: blocks → steps → checkpoint. The page to read first.

How a run goes on when its command is given again:
  1. The newest complete checkpoint in RUN/checkpoints is restored, whatever mesh it was saved from.
  2. Without one, parameters are made anew from `config.train.seed`.
  3. Its position says which batch of which block comes next; blocks that a rollback left out are passed over.
  4. Metrics and journal lines are added, never rewritten; steps that a kill undid are done, and logged, again.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from rich.console import Console

from maxlm import config as configs
from maxlm.blocks.format import Batch
from maxlm.blocks.reader import BlockStore, ReaderPosition, report_progress
from maxlm.errors import ConfigError
from maxlm.journal import Journal
from maxlm.models import cost
from maxlm.models.decoder import DecoderFunction
from maxlm.models.kernels import check_keeps_documents_apart
from maxlm.parallel.mesh import batch_sharding, make_mesh
from maxlm.paths import PathLike, as_path, write_json
from maxlm.train.checkpoint import Checkpoints, Meta, Position, check_model
from maxlm.train.config import Config, check_divides
from maxlm.train.hardware import peak_flops
from maxlm.train.history import (
    first_blocks,
    journal_of,
    next_block,
    oldest_block,
    reader_name,
    resume_position,
    skipped_blocks,
)
from maxlm.train.loader import BlockFeed
from maxlm.train.metrics import MetricsWriter, ProgressLine, Window
from maxlm.train.optimizer import make_optimizer
from maxlm.train.schedules import make_schedule
from maxlm.train.state import TrainState, abstract_state, begin_state, init_state
from maxlm.train.step import make_train_step

Evaluate = Callable[[dict[str, Any]], dict[str, float]]
MakeEvaluate = Callable[[Config, BlockStore, DecoderFunction, Mesh], Evaluate]


@dataclass
class Run:
    """What a run is made of; nothing in here changes while it trains, but for `position`."""

    config: Config
    workdir: PathLike
    store: BlockStore
    mesh: Mesh
    model: DecoderFunction
    tx: optax.GradientTransformation
    schedule: optax.Schedule
    total_steps: int
    checkpoints: Checkpoints
    journal: Journal
    feed: BlockFeed
    line: ProgressLine
    metrics: MetricsWriter
    evaluate: Evaluate | None
    peak: float
    skipped: set[int]
    position: Position


def train(
    config: Config,
    workdir: PathLike,
    store: BlockStore,
    make_evaluate: MakeEvaluate | None = None,
    devices: Sequence[Any] | None = None,
) -> Position:
    """Trains until `config.data.num_blocks` blocks are done, going on where `workdir` stands.

    `devices`: those to train on, all by default.

    Raises:
      ConfigError, DataError, CheckpointError, DiskFullError: see the modules that this page calls.
    """
    mesh = make_mesh(config.mesh, devices)
    check_keeps_documents_apart(config.model.attention, config.model.sliding_window)
    with jax.set_mesh(mesh):
        run, state = _start(config, workdir, store, mesh, make_evaluate)
        train_step = make_train_step(
            run.model, run.tx, run.schedule, config.train, mesh, num_domains=len(store.info.domains)
        )
        try:
            while run.position.blocks_done < config.data.num_blocks:
                state = _train_block(run, state, train_step)
                _finish_block(run, state)
            _finish(run)
        finally:
            run.line.close()
            run.metrics.close()
            run.feed.close()
            run.checkpoints.close()
    return run.position


def _train_block(run: Run, state: TrainState, train_step: Callable) -> TrainState:
    """Trains on the rest of the current block."""
    position = run.position
    batches = run.feed.open(position.block)
    run.journal.append("block_started", block=position.block, step=position.step, batch=position.batch)
    _tell_producer(run, position.block, finished=False)
    window, pending = Window(run.store.info.domains), None
    for batch in run.feed.batches(batches, start=position.batch):
        state, metrics = train_step(state, _on_devices(batch, run.mesh))
        # The step before is read only now, after this one is dispatched: the device never waits for the log.
        if pending is not None:
            window = _log(run, window, *pending)
        position = dataclasses.replace(position, step=position.step + 1, batch=position.batch + 1)
        pending = (position.step, metrics, batch.inputs.shape[1])
        run.feed.prepare(next_block(position.block + 1, run.skipped))
        every, is_last = run.config.checkpoint.every_steps, position.batch == len(batches)
        if every and position.step % every == 0 and not is_last:  # the last step's is the block's own checkpoint
            window, pending = _log(run, window, *pending), None
            _save(run, state, position)
    if pending is not None:
        window = _log(run, window, *pending)
    if window.steps:  # a block's end writes out what is left
        _write(run, window, position.step)
    run.position = position
    return state


def _log(run: Run, window: Window, step: int, metrics: dict[str, jax.Array], length: int) -> Window:
    """Adds a finished step, on rows of `length`, to the window; every `log_every` steps writes it and begins anew."""
    tokens = run.config.train.batch * run.store.info.seq_len  # of shorter rows there are more
    window.add(step, jax.device_get(metrics), tokens, tokens * cost.train_flops_per_token(run.model.config, length))
    if step % run.config.train.log_every:
        return window
    _write(run, window, step)
    return Window(window.domains)


def _write(run: Run, window: Window, step: int) -> None:
    scalars = window.scalars(run.peak, run.feed.waited_share())
    run.metrics.write(step, scalars)
    run.line.update(step, run.position.block, scalars)


def _finish_block(run: Run, state: TrainState) -> None:
    """Journal, checkpoint and evaluation at the end of a block."""
    done = run.position
    run.journal.append("block_finished", block=done.block, step=done.step)
    following = next_block(done.block + 1, run.skipped)
    run.position = Position(done.step, done.blocks_done + 1, following, 0, finished_block=done.block)
    _save(run, state, run.position)
    every = run.config.train.eval_every_blocks
    is_last = run.position.blocks_done == run.config.data.num_blocks
    if run.evaluate is not None and every and (run.position.blocks_done % every == 0 or is_last):
        values = run.evaluate(state.params)
        run.metrics.write(done.step, values)
        run.journal.append("evaluated", block=done.block, step=done.step, **values)
        losses = "  ".join(f"{k.removeprefix('validation/')} {v:.4f}" for k, v in values.items())
        run.line.say(f"block {done.block} finished at step {done.step}: validation {losses}")


def _save(run: Run, state: TrainState, position: Position) -> None:
    config = {**configs.to_dict(run.config), "model": configs.to_dict(run.model.config)}
    run.checkpoints.save(state, Meta(position, config, run.model.config.vocab_size))
    run.journal.append("checkpoint", step=position.step, finished_block=position.finished_block, batch=position.batch)


def _finish(run: Run) -> None:
    run.checkpoints.wait()
    run.journal.append("run_finished", step=run.position.step, blocks=run.position.blocks_done)
    _tell_producer(run, run.position.block, finished=True)
    run.line.say(f"finished: {run.position.step} steps, {run.position.blocks_done} blocks")


def _tell_producer(run: Run, block: int, finished: bool) -> None:
    position = ReaderPosition(block, finished, oldest_block(run.checkpoints, block))  # all processes read together
    if jax.process_index() == 0:
        report_progress(run.store.dataset, reader_name(run.workdir), position)


def _start(
    config: Config, workdir: PathLike, store: BlockStore, mesh: Mesh, make_evaluate: MakeEvaluate | None
) -> tuple[Run, TrainState]:
    """Builds the run and its state: restored from the newest checkpoint, or fresh."""
    config = _resolved(config, store)
    check_divides(config, mesh, store.info.lengths)
    model = DecoderFunction(config.model)
    first = jax.process_index() == 0  # of several processes, one writes journal, metrics and config
    checkpoints, journal = Checkpoints(workdir, config.checkpoint.keep), journal_of(workdir, writes=first)
    skipped = skipped_blocks(journal)
    to_read = first_blocks(config.data.num_blocks, skipped)
    total_steps = sum(store.info.steps(block, config.train.batch) for block in to_read)
    schedule = make_schedule(config.optimizer.learning_rate, config.schedule, total_steps)
    tx = make_optimizer(config.optimizer, schedule, config.model.width_multiplier)
    console = Console(quiet=not first)
    state, position, saved = _restore_or_init(config, checkpoints, model, tx, mesh, skipped)
    plain = configs.to_dict(config)
    changed = configs.diff(saved or plain, plain)
    for key, (before, after) in changed.items():
        console.print(f"config.{key} changed since the checkpoint: {before} → {after}", highlight=False)
    if first:
        write_json(as_path(workdir) / "config.json", plain)
    journal.append(
        "resumed" if position.step else "run_started",
        step=position.step,
        total_steps=total_steps,
        block=position.block,
        config_digest=configs.digest(plain),
        devices=f"{mesh.size} × {mesh.devices.flat[0].device_kind}",
        mesh=dict(mesh.shape),
        changed=changed,
    )
    here = ReaderPosition(position.block, finished=False, oldest=oldest_block(checkpoints, position.block))
    if first:  # before the first block is there: the data process then knows that somebody waits for it
        report_progress(store.dataset, reader_name(workdir), here)
    data, line = config.data, ProgressLine(console, total_steps, position.step)
    run = Run(
        config=config,
        workdir=workdir,
        store=store,
        mesh=mesh,
        model=model,
        tx=tx,
        schedule=schedule,
        total_steps=total_steps,
        checkpoints=checkpoints,
        journal=journal,
        feed=BlockFeed(
            store, batch=config.train.batch, seed=data.seed, verify=data.verify, wait_s=data.wait_s, say=line.say
        ),
        line=line,
        metrics=MetricsWriter(workdir, position.step, writes=first),
        evaluate=make_evaluate(config, store, model, mesh) if make_evaluate else None,
        peak=mesh.size * peak_flops(mesh.devices.flat[0], config.train.peak_flops),
        skipped=skipped,
        position=position,
    )
    return run, state


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


def _restore_or_init(
    config: Config,
    checkpoints: Checkpoints,
    model: DecoderFunction,
    tx: optax.GradientTransformation,
    mesh: Mesh,
    skipped: set[int],
) -> tuple[TrainState, Position, dict[str, Any] | None]:
    """The state, where it stands, and the config that it was saved with (None if it is fresh)."""
    steps = checkpoints.steps()
    if not steps:
        return init_state(model, tx, mesh, config.train.seed), Position(block=next_block(0, skipped)), None
    meta = checkpoints.meta(steps[-1])
    check_model(meta, config.model, checkpoints.folder / str(steps[-1]))
    if meta.position.batch:
        _check_same_batches(meta, config)
    abstract = abstract_state(model, tx, mesh)
    if checkpoints.has_optimizer(steps[-1]):
        state = checkpoints.restore(steps[-1], abstract)
    else:  # an imported model
        params = checkpoints.restore_params(steps[-1], abstract.params)
        state = begin_state(params, model, tx, mesh, config.train.seed)
    return state, resume_position(meta.position, skipped), meta.config


def _check_same_batches(meta: Meta, config: Config) -> None:
    """Raises ConfigError if a checkpoint within a block would go on with other batches than it began with."""
    for key, saved, now in (
        ("train.batch", meta.config["train"]["batch"], config.train.batch),
        ("data.seed", meta.config["data"]["seed"], config.data.seed),
    ):
        if saved != now:
            raise ConfigError(
                f"config.{key}={now}, but the newest checkpoint stands in the middle of a block read with {saved}: "
                "rows would be read twice or not at all; finish the block first, or roll back to its start"
            )


def _on_devices(batch: Batch, mesh: Mesh) -> Batch:
    """This process's rows as parts of global arrays."""
    sharding = batch_sharding(mesh)
    return Batch(*(jax.make_array_from_process_local_data(sharding, column) for column in batch))
