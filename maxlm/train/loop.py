"""The training process: blocks → steps → checkpoint. The page to read first.

A run is a list of stages (maxlm/train/stages.py), each a list of blocks. Given its command again, it goes on:
  1. The newest complete checkpoint in RUN/checkpoints is restored, whatever mesh it was saved from.
  2. Without one, parameters are made anew from `config.train.seed`.
  3. Its position says which batch of which block comes next; blocks that a rollback left out are passed over.
  4. Metrics and journal lines are added, never rewritten; steps that a kill undid are done, and logged, again.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from maxlm.blocks.format import Batch
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DamagedCheckpointError
from maxlm.models import cost
from maxlm.models.kernels import check_keeps_documents_apart
from maxlm.monitor.clock import Clock
from maxlm.monitor.norms import as_scalars
from maxlm.parallel.mesh import batch_sharding, make_mesh
from maxlm.paths import PathLike
from maxlm.train.checkpoint import Position
from maxlm.train.config import Config
from maxlm.train.hardware import memory_in_use
from maxlm.train.history import next_block
from maxlm.train.metrics import Window
from maxlm.train.preference import check_pairs, reference_of
from maxlm.train.run import (
    MakeEvaluate,
    Run,
    Trainer,
    begin_stage,
    leave,
    open_run,
    pass_over,
    retain,
    save,
    tell_producer,
)
from maxlm.train.stages import check_same_stage
from maxlm.train.state import TrainState


def train(
    config: Config,
    workdir: PathLike,
    store: BlockStore,
    make_evaluate: MakeEvaluate | None = None,
    devices: Sequence[Any] | None = None,
    clock: Clock | None = None,
) -> Position:
    """Trains until `config.data.num_blocks` blocks are done, going on where `workdir` stands.

    `devices`: those to train on, all by default. `clock`: one that has been running since the process began.

    Raises:
      ConfigError, DataError, CheckpointError, DiskFullError: see the modules that this page calls.
    """
    clock = clock or Clock()
    while True:
        run, resumes = open_run(config, workdir, store, clock), True
        try:
            while not run.is_done:
                _train_stage(run, make_evaluate, devices, resumes)
                resumes = False
            _finish(run)
            return run.position
        except DamagedCheckpointError as error:
            pass_over(run.checkpoints, run.journal, error, run.line.say)  # and once more, from the one before
        finally:
            run.close()


def _train_stage(run: Run, make_evaluate: MakeEvaluate | None, devices: Sequence[Any] | None, resumes: bool) -> None:
    """Trains on the blocks of one stage. The next one takes its state from the checkpoint that this one leaves."""
    config = run.stage.config
    mesh = make_mesh(config.mesh, devices)
    check_keeps_documents_apart(config.model.attention, config.model.sliding_window)
    with jax.set_mesh(mesh):
        trainer, state = begin_stage(run, mesh, make_evaluate, resumes)
        try:
            if run.begins_trained and config.train.eval_every_blocks:
                _evaluate(run, trainer, state, run.position.finished_block, "before the first step")
            while not run.is_done and run.stage is trainer.stage:
                state = _train_block(run, trainer, state)
                _finish_block(run, trainer, state)
            run.checkpoints.wait()
            retain(run)
        finally:
            trainer.feed.close()


def _train_block(run: Run, trainer: Trainer, state: TrainState) -> TrainState:
    """Trains on the rest of the current block."""
    position, feed = run.position, trainer.feed
    with run.instruments.waiting_for_data():
        batches = feed.open(position.block)
    manifest = run.store.manifest(position.block)
    check_same_stage(run.stages, position.block, manifest.stage)
    check_pairs(trainer.stage.config.train, manifest, run.store.folder(position.block))
    run.journal.append("block_started", block=position.block, step=position.step, batch=position.batch)
    tell_producer(run, position.block, finished=False)
    run.instruments.begin_block()
    window, pending = Window(run.store.info.domains, trainer.mesh.size), None
    for batch in feed.batches(batches, start=position.batch):
        rows, step = _on_devices(batch, trainer.mesh), position.step + 1
        run.instruments.before_step(step, state)
        run.instruments.check_devices(step, partial(trainer.probe.differences, state, rows))
        state, metrics = trainer.step(state, rows, run.instruments.limits(step))
        # The step before is read only now, after this one is dispatched: the device never waits for the log.
        if pending is not None:
            window = _log(run, trainer, window, state, *pending)
        position = dataclasses.replace(position, step=step, batch=position.batch + 1)
        pending = (step, metrics, rows)
        feed.prepare(next_block(position.block + 1, run.skipped))
        every, is_last = run.config.checkpoint.every_steps, position.batch == len(batches)
        stopped = run.stop.requested(position.step)
        if (stopped or (every and position.step % every == 0)) and not is_last:  # the last step's is the block's own
            window, pending = _log(run, trainer, window, state, *pending), None
            save(run, trainer, state, position)
        if stopped and not is_last:
            leave(run, position.step)
    if pending is not None:
        window = _log(run, trainer, window, state, *pending)
    if window.steps:  # a block's end writes out what is left
        _write(run, trainer, window, position.step)
    run.position = position
    return state


def _log(
    run: Run, trainer: Trainer, window: Window, state: TrainState, step: int, metrics: dict[str, Any], rows: Batch
) -> Window:
    """Adds a finished step on `rows` to the window; every `log_every` steps writes it and begins anew.

    `state`: of now, a step later.
    """
    tokens = trainer.stage.config.train.batch * run.store.info.seq_len  # of shorter rows there are more
    found = run.instruments.fetch(
        step, metrics, again=partial(trainer.probe.figures, state.params, rows, state.opt_state)
    )
    window.add(found, tokens, cost.flops_per_token(trainer.model.config, rows.inputs.shape[1]).times(tokens))
    if step % trainer.stage.config.train.log_every:
        return window
    window.norms = as_scalars(found.get("norms", {}))
    _write(run, trainer, window, step)
    return Window(window.domains, window.devices)


def _write(run: Run, trainer: Trainer, window: Window, step: int) -> None:
    run.clock.add("data_wait", trainer.feed.waited_s)
    scalars = window.scalars(trainer.peak, trainer.feed.waited_share())
    scalars |= run.instruments.scalars(step, scalars) | memory_in_use()
    run.metrics.write(step, scalars)
    run.line.update(step, run.position.block, scalars)


def _finish_block(run: Run, trainer: Trainer, state: TrainState) -> None:
    """Journal, checkpoint and evaluation at the end of a block."""
    done = run.position
    run.journal.append("block_finished", block=done.block, step=done.step)
    following = next_block(done.block + 1, run.skipped)
    run.position = Position(done.step, done.blocks_done + 1, following, 0, finished_block=done.block)
    save(run, trainer, state, run.position)
    every = trainer.stage.config.train.eval_every_blocks
    is_last = run.is_done or run.stage is not trainer.stage  # of its stage
    if every and (run.position.blocks_done % every == 0 or is_last):
        _evaluate(run, trainer, state, done.block, f"block {done.block} finished at step {done.step}")
    retain(run)
    if run.stop.requested(done.step):
        leave(run, done.step)


def _evaluate(run: Run, trainer: Trainer, state: TrainState, block: int, when: str) -> None:
    """The loss on held-out text after `block`, into metrics and journal."""
    if trainer.evaluate is None:
        return
    step = run.position.step
    with run.instruments.standing_still("evaluation"):
        reference = reference_of(trainer.stage.config.train, state.opt_state, state.params)
        values = trainer.evaluate(state.params, reference)
    run.metrics.write(step, values, ends_window=False)
    run.journal.append("evaluated", block=block, step=step, **values)
    losses = "  ".join(f"{k.removeprefix('validation/')} {v:.4f}" for k, v in values.items() if "/position/" not in k)
    run.line.say(f"{when}: validation {losses}")


def _finish(run: Run) -> None:
    with run.instruments.standing_still("checkpoint"):
        run.checkpoints.wait()
    run.instruments.finish()
    run.journal.append("run_finished", step=run.position.step, blocks=run.position.blocks_done)
    tell_producer(run, run.position.block, finished=True)
    run.line.say(f"finished: {run.position.step} steps, {run.position.blocks_done} blocks")


def _on_devices(batch: Batch, mesh: Mesh) -> Batch:
    """This process's rows as parts of global arrays."""
    sharding = batch_sharding(mesh)
    return Batch(*(jax.make_array_from_process_local_data(sharding, column) for column in batch))
