"""Training that goes back a block by itself, when a detector of the config's watch asks for it."""

from collections.abc import Sequence
from typing import Any

import jax

from maxlm.blocks.reader import BlockStore
from maxlm.errors import UserError
from maxlm.monitor.clock import Clock
from maxlm.monitor.instruments import RollbackWantedError
from maxlm.parallel.distributed import wait_for_all
from maxlm.paths import PathLike
from maxlm.train.checkpoint import Checkpoints, Position
from maxlm.train.config import Config
from maxlm.train.history import journal_of, trained_blocks
from maxlm.train.loop import train
from maxlm.train.rollback import plan_rollback, roll_back
from maxlm.train.run import MakeEvaluate


def train_and_recover(
    config: Config,
    workdir: PathLike,
    store: BlockStore,
    make_evaluate: MakeEvaluate | None = None,
    devices: Sequence[Any] | None = None,
    clock: Clock | None = None,
) -> Position:
    """As `train`; an alarm whose policy is "rollback" undoes the block that it came in, which is then left out.

    Raises:
      UserError: an alarm came after `config.watch.max_rollbacks` of them.
    """
    while True:
        try:
            return train(config, workdir, store, make_evaluate, devices, clock)
        except RollbackWantedError as wanted:
            _leave_out_block(config, workdir, store, wanted)
        clock = Clock()


def _leave_out_block(config: Config, workdir: PathLike, store: BlockStore, wanted: RollbackWantedError) -> None:
    """Goes back to the end of the last finished block. All processes come here, having seen the same alarm."""
    journal = journal_of(workdir)
    so_far = sum(event["event"] == "rollback" and bool(event.get("alarm")) for event in journal.read())
    if so_far >= config.watch.max_rollbacks:
        raise UserError(
            f"{wanted.alarm}: {so_far} blocks have been left out for such alarms already, and "
            f"config.watch.max_rollbacks={config.watch.max_rollbacks}; look into it (maxlm report), then roll back by "
            "hand, or allow more"
        ) from wanted
    checkpoints = Checkpoints(workdir)
    finished = trained_blocks(journal)
    plan = plan_rollback(checkpoints, journal, finished[-1] if finished else -1, skip=True)
    checkpoints.close()
    if jax.process_index() == 0:
        roll_back(workdir, store.dataset, plan, alarm=str(wanted.alarm))
    wait_for_all("rolled back")
