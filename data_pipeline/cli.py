"""The command line of the data side: `maxlm-data COMMAND --help` says what each command does."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from data_pipeline.commands import LOOKS, STEPS
from data_pipeline.config import DataConfig
from data_pipeline.tokenizer import command as tokenizer
from maxlm import config as config_lib
from maxlm.errors import ConfigError, UserError, did_you_mean


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as one line, like everything else here."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="maxlm-data", description="Prepares pretraining data: from raw text to training blocks.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, step in STEPS.items():
        example = f"maxlm-data {name} --config=configs/data/quickstart.py --dataset=/tmp/data"
        sub = _add_command(commands, name, step.summary, step.details, example)
        sub.add_argument("--config", required=True, metavar="FILE.py[:ARG]", help="a file with get_config()")
        sub.usage = f"maxlm-data {name} --config=FILE.py --dataset=DIR [--config.KEY=VALUE ...]"
        if name == "score":
            _add_score_options(sub)
        if name == "tokenizer":
            tokenizer.add_options(sub)
        if name == "produce":
            sub.add_argument("--dry-run", action="store_true", help="only tell what the run will use and repeat")
        if name == "dedup":
            about = "try thresholds, and take the one that keeps about so many tokens"
            sub.add_argument("--target-tokens", type=int, metavar="N", help=about)
    details = (
        "Shows what a data set holds: its stages and sizes, or samples of what was removed or set aside, or a block."
    )
    example = "maxlm-data inspect --dataset=/tmp/data --removed --reason=near_duplicate -n 3"
    sub = _add_command(commands, "inspect", "look into a data set", details, example)
    sub.add_argument("--removed", action="store_true", help="samples of removed documents by reason")
    sub.add_argument("--reason", default="", metavar="REASON", help="only what was removed for this")
    sub.add_argument("--hits", action="store_true", help="benchmark items found in documents, and where")
    sub.add_argument("--quarantine", action="store_true", help="samples of input that never became a document")
    sub.add_argument("--block", type=int, metavar="K", help="rows of block K, decoded")
    sub.add_argument("-n", type=int, default=3, metavar="COUNT", help="how many of each (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=0, metavar="SEED", help="another seed draws another sample")
    details = (
        "Holds the ledger against the blocks that stand, and shows how many documents were used how often. --rebuild "
        "counts the uses anew from the journal of the blocks."
    )
    sub = _add_command(
        commands, "ledger", "how often documents were used", details, "maxlm-data ledger --dataset=/tmp/data"
    )
    sub.add_argument("--rebuild", action="store_true", help="count the uses anew")
    sub.add_argument(
        "--list", default="", metavar="FILE", help="write the documents of --blocks, and how often each, as Parquet"
    )
    sub.add_argument("--blocks", default="", metavar="0,1,…", help="which (maxlm status --data names a run's)")
    details = (
        "Prints what the corpus is made of before and after, and what took the rest; warns of operators that take one "
        "language, domain or source far more than the others. Writes corpus/report.json, and all of it as one page."
    )
    example = "maxlm-data report --dataset=/tmp/data --html=/tmp/corpus.html"
    sub = _add_command(commands, "report", "what the corpus is made of, and what was removed", details, example)
    sub.add_argument("--html", default="", metavar="FILE", help="the page (default: DATASET/corpus/report.html)")
    sub.add_argument("--seed", type=int, default=0, metavar="SEED", help="another seed draws other samples")
    return parser


def _add_score_options(sub: argparse.ArgumentParser) -> None:
    sub.set_defaults(dataset="")
    next(action for action in sub._actions if action.dest == "dataset").required = False  # --train needs none
    sub.add_argument("--train", action="store_true", help="train the models and write them, with a report")
    sub.add_argument("--name", default="", metavar="SCORE", help="train this score's model only")
    sub.add_argument("--labelled", action="append", default=[], metavar="GLOB", help="labelled files to learn from")
    sub.add_argument("--out", default="", metavar="MODEL", help="the model's folder (default: where the score has it)")
    sub.add_argument("--encoder", default="", metavar="HF_DIR", help="fine-tune this checkpoint; else a linear model")


def _add_command(commands: argparse._SubParsersAction, name: str, summary: str, details: str, example: str):
    sub = commands.add_parser(name, help=summary, description=details, epilog=f"example: {example}", allow_abbrev=False)
    sub.add_argument("--dataset", required=True, metavar="DIR", help="the data set's folder")
    return sub


def _overrides(unknown: Sequence[str], options: argparse.Namespace) -> config_lib.Overrides:
    """The ``--config.a.b=value`` arguments as pairs; anything else that argparse left over is a mistake."""
    for argument in unknown:
        key = argument.partition("=")[0]
        if key.startswith("--") and (not key.startswith("--config.") or not hasattr(options, "config")):
            known = [f"--{name}" for name in vars(options) if name != "command"]
            raise ConfigError(f"unknown argument {argument!r}{did_you_mean(key, known)}")
    return config_lib.parse_overrides(unknown)


def run(argv: Sequence[str]) -> None:
    """Runs one command line.

    Raises:
      UserError: a mistake in the arguments, the config or the data.
    """
    known = [*STEPS, *LOOKS]
    if argv and not argv[0].startswith("-") and argv[0] not in known:
        raise ConfigError(f"no command {argv[0]!r}{did_you_mean(argv[0], known)}")
    options, unknown = _parser().parse_known_args(argv)
    overrides = _overrides(unknown, options)
    if options.command in STEPS:
        config = config_lib.load(options.config, overrides, DataConfig)
        start = time.monotonic()
        told = STEPS[options.command].run(config, options)
        print(f"{options.command}: {told}, {time.monotonic() - start:.1f} s")
    else:
        LOOKS[options.command](options)


def main() -> int:
    """The entry point of `maxlm-data`: 0 done, 2 a mistake that the user can mend, 130 interrupted."""
    try:
        run(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what is finished stays; the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
