"""`maxlm export --workdir=RUN --to=FOLDER`"""

import argparse

from maxlm.config import Overrides
from maxlm.errors import UserError
from maxlm.interop.tensor_writer import DTYPES
from maxlm.train.transfer import export_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--to", required=True, metavar="FOLDER", help="a new folder, for transformers and vLLM")
    parser.add_argument("--step", type=int, help="checkpoint to take; the newest by default")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the weights (default %(default)s)")
    parser.add_argument(
        "--average", action="store_true", help="the parameters' moving average (config.optimizer.ema_decay)"
    )
    parser.add_argument(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="longest context, as config.json names it; by default the data set's rows, or as it was imported",
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    if arguments.max_length is not None and arguments.max_length < 1:
        raise UserError(f"--max-length: {arguments.max_length} is not positive")
    step = export_run(
        arguments.workdir,
        arguments.to,
        arguments.step,
        dtype=arguments.dtype,
        average=arguments.average,
        max_length=arguments.max_length,
    )
    print(f"{arguments.to}: the model of step {step} in {arguments.dtype}")
