"""`maxlm resize --from=RUN --tokenizer=DIR --workdir=NEW`"""

import argparse

from maxlm.config import Overrides
from maxlm.train.checkpoint import quieten_failed_saves
from maxlm.train.transfer import resize_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", required=True, dest="source", metavar="RUN", help="the run whose model is to have them"
    )
    parser.add_argument(
        "--tokenizer", required=True, metavar="DIR", help="one that extends the run's (maxlm-data tokenizer --extend)"
    )
    parser.add_argument("--workdir", required=True, metavar="NEW", help="folder of the new run")
    parser.add_argument("--step", type=int, help="checkpoint to take; the newest by default")
    parser.add_argument(
        "--average", action="store_true", help="the parameters' moving average (config.optimizer.ema_decay)"
    )
    parser.epilog = (
        "A new token begins as the mean of the tokens that it replaces; all other rows stay. The new run "
        "holds a checkpoint of step 0: generate, eval, export and maxlm train --from=NEW --fresh work on it."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    quieten_failed_saves()
    extension = resize_run(arguments.source, arguments.tokenizer, arguments.workdir, arguments.step, arguments.average)
    rows = extension.tokenizer.vocab_size
    print(f"{arguments.workdir}: {len(extension.added):,} more tokens, {rows:,} rows, as the checkpoint of step 0")
