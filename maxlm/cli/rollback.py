"""`maxlm rollback --workdir=RUN --to-block=N [--skip]`"""

import argparse

from maxlm.config import Overrides
from maxlm.errors import CheckpointError, UserError
from maxlm.paths import as_path, exclusive, read_json
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.history import journal_of, plan_rollback, roll_back, skipped_blocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--to-block",
        type=int,
        required=True,
        metavar="N",
        help="go back to the checkpoint after block N; -1: the start",
    )
    parser.add_argument("--skip", action="store_true", help="leave out the block after N when training goes on")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be undone")
    parser.epilog = "Later checkpoints are set aside in RUN/rolled_back. Then give the train command again."


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    workdir = as_path(arguments.workdir)
    if arguments.to_block < -1:
        raise UserError(f"--to-block={arguments.to_block}: the first block is 0; -1 goes back to the start")
    if not (workdir / "config.json").exists():
        raise CheckpointError(f"{workdir}: not a run (no config.json)")
    dataset = read_json(workdir / "config.json", "config of the run")["data"]["dataset"]
    with exclusive(workdir / ".lock", f"{workdir}: this run is training; stop it first (Ctrl-C, or kill)"):
        checkpoints = Checkpoints(workdir)
        skipped = skipped_blocks(journal_of(workdir))
        plan = plan_rollback(checkpoints, arguments.to_block, arguments.skip, skipped)
        checkpoints.close()
        verb = "would go" if arguments.dry_run else "goes"
        print(f"{verb} back from step {plan.from_step} to step {plan.to_step} (after block {plan.to_block});")
        print(f"checkpoints set aside: {', '.join(map(str, plan.undone_steps)) or 'none'}")
        if plan.skipped:
            print(f"left out from now on: block {', '.join(map(str, plan.skipped))}")
        if not arguments.dry_run:
            roll_back(workdir, dataset, plan)
            print("give the train command again to go on")
