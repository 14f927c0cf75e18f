"""`maxlm`: dispatch, help, and errors as one line."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from maxlm import __version__
from maxlm.config import parse_overrides
from maxlm.errors import ConfigError, DiskFullError, StoppedError, UserError, did_you_mean

# command -> what it does; each is a module of this folder with add_arguments(parser) and run(arguments, overrides)
COMMANDS = {
    "train": "train a model on the blocks of a data set; the same command again goes on where it stopped",
    "eval": "held-out loss and bits per byte, per domain",
    "generate": "continue a prompt",
    "import": "begin a run with a model from a Hugging Face folder",
    "resize": "begin a run with another run's model and an extended tokenizer",
    "export": "write a run's model as a Hugging Face folder, for transformers and vLLM",
    "status": "where a run stands",
    "rollback": "put a run back to the checkpoint after a block",
    "report": "one HTML page about a run",
    "compile": "compile the training step for a TPU slice that is not there: does it fit, how fast could it be",
    "plan": "from what is known of a run (parameters, tokens, compute, chips, days, loss …) all the rest",
    "fit": "fit laws to runs: loss by size and tokens, learning rates, mixtures, curricula, benchmarks",
    "sweep": "train many small runs from one file, several at a time; the same command again goes on",
}

_CONFIGURED = {"train", "eval", "generate", "compile", "plan", "sweep"}  # commands that take --config.a.b=v


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0 if it did its job, 2 for a mistake that the user can mend, 130 if interrupted,
    143 if stopped by SIGTERM.

    A run that hangs, or that loses one of its processes, ends with 75: the same command may well succeed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's notes on absent accelerators
    sys.unraisablehook = _unraisable
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        print(f"error: no command {argv[0]!r}{did_you_mean(argv[0], COMMANDS)}", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(
        prog="maxlm", description="Train language models, from blocks of tokens to a model that you can talk to."
    )
    parser.add_argument("--version", action="version", version=f"maxlm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if argv[:1] == [name]:  # the others' modules (jax among what they import) are left unloaded
            importlib.import_module(f"maxlm.cli.{name}").add_arguments(command)
    arguments, rest = parser.parse_known_args(argv)
    try:
        overrides = parse_overrides(rest)
        if overrides and arguments.command not in _CONFIGURED:
            raise ConfigError(f"maxlm {arguments.command} takes no --config.{overrides[0][0]}; try --help")
        importlib.import_module(f"maxlm.cli.{arguments.command}").run(arguments, overrides)
    except DiskFullError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(2)  # threads that still try to write would hold up, or clutter, an orderly exit
    except StoppedError as error:
        print(error, file=sys.stderr)
        return 128 + signal.SIGTERM
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    """Says what no caller can catch, but for tensorstore's threads that come back to a restore that was given up."""
    if not (isinstance(what.exc_value, RuntimeError) and str(what.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(what)


if __name__ == "__main__":
    sys.exit(main())
