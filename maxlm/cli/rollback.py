"""`maxlm rollback --workdir=RUN --to-block=N [--skip | --redraw]`"""

import argparse

from maxlm.blocks.reader import BlockStore
from maxlm.config import Overrides
from maxlm.errors import CheckpointError, UserError
from maxlm.paths import PathLike, as_path, exclusive
from maxlm.report.collect import read_config
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.history import journal_of, standing
from maxlm.train.rollback import Rollback, cost_of, plan_rollback, prune, roll_back, undo_rollback


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--to-block", type=int, metavar="N", help="go back to the checkpoint after block N; -1: the start"
    )
    what.add_argument("--undo", action="store_true", help="take the last rollback back, if no step was trained since")
    what.add_argument("--prune", action="store_true", help="delete for good what rollbacks set aside")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--repeat", action="store_true", help="read the same blocks again (the default)")
    data.add_argument("--skip", action="store_true", help="leave out the block after N when training goes on")
    data.add_argument(
        "--redraw",
        action="store_true",
        help="have the data process make the blocks after N anew, with its present mixture, seed and filters",
    )
    parser.add_argument(
        "--lr-scale", type=float, default=1.0, metavar="X", help="multiply the learning rate with X from there on"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be undone")
    parser.epilog = (
        "Later checkpoints are set aside in RUN/rolled_back until --prune. Then give the train command again. The data "
        "process may go on meanwhile."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    workdir = as_path(arguments.workdir)
    if arguments.to_block is not None and arguments.to_block < -1:
        raise UserError(f"--to-block={arguments.to_block}: the first block is 0; -1 goes back to the start")
    if not 0 < arguments.lr_scale < float("inf"):
        raise UserError(f"--lr-scale={arguments.lr_scale}: give a factor above 0, e.g. 0.5")
    if arguments.to_block is None and (arguments.skip or arguments.redraw or arguments.lr_scale != 1):
        raise UserError("--skip, --redraw and --lr-scale go with --to-block")
    if not (workdir / "config.json").exists():
        raise CheckpointError(f"{workdir}: not a run (no config.json)")
    dataset = read_config(workdir)["data"]["dataset"]
    with exclusive(workdir / ".lock", f"{workdir}: this run is training; stop it first (Ctrl-C, or kill)"):
        if arguments.prune:
            print(f"{prune(workdir) / 1e6:,.1f} MB freed; the rollbacks before can't be undone any more")
        elif arguments.undo:
            undone = undo_rollback(workdir, dataset)
            print(f"the run stands at step {undone['from_step']} again, as before the rollback to {undone['to_step']}")
        else:
            _go_back(arguments, workdir, dataset)


def _go_back(arguments: argparse.Namespace, workdir: PathLike, dataset: str) -> None:
    checkpoints, journal = Checkpoints(workdir), journal_of(workdir)
    plan = plan_rollback(
        checkpoints,
        journal,
        arguments.to_block,
        skip=arguments.skip,
        redraw=arguments.redraw,
        lr_scale=arguments.lr_scale,
    )
    checkpoints.close()
    _show(plan, dataset, arguments.dry_run, standing(journal))
    if not arguments.dry_run:
        roll_back(workdir, dataset, plan)
        print("give the train command again to go on; --undo takes this back, --prune frees the space")


def _show(plan: Rollback, dataset: str, dry_run: bool, events: list) -> None:
    verb, cost = "would go" if dry_run else "goes", cost_of(plan, BlockStore(dataset), events)
    print(f"{verb} back from step {plan.from_step} to step {plan.to_step} (after block {plan.to_block})")
    print(
        f"undone: {plan.from_step - plan.to_step} steps; finished blocks {_listed(plan.undone_blocks)}: "
        f"{cost.tokens:,} tokens, {cost.documents:,} documents, {cost.hours:.2f} hours"
    )
    print(f"checkpoints set aside: {_listed(plan.undone_steps)}")
    if plan.skipped:
        print(f"left out from now on: block {_listed(plan.skipped)}")
    if plan.redraw:
        print(f"made anew by the data process: blocks from {plan.to_block + 1} on")
    if plan.lr_scale != 1:
        print(f"learning rate from there on: times {plan.lr_scale:g}")


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers)) or "none"
