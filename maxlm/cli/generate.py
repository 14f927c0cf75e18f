"""`maxlm generate --workdir=RUN --prompt …`, or `--interactive`; with `--chat` by the chat template"""

import argparse
import sys
from collections.abc import Iterator

from maxlm.config import Overrides
from maxlm.errors import UserError
from maxlm.generate.engine import Engine, generate_text
from maxlm.generate.load import TrainedModel, load_model
from maxlm.generate.sampling import Sampling
from maxlm.paths import as_path
from maxlm.tokenizer.chat import ASSISTANT, chat_template


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--prompt", action="append", help="text to continue; may be given several times")
    parser.add_argument("--interactive", action="store_true", help="continue each line that is typed")
    parser.add_argument(
        "--chat", action="store_true", help="answer: prompts are what a user says, put into the run's chat template"
    )
    parser.add_argument("--system", metavar="TEXT", help="with --chat: a system message before them")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0: always the likeliest token (default %(default)s)"
    )
    parser.add_argument(
        "--top-p", type=float, default=0.95, help="only the likeliest tokens that sum to this (default %(default)s)"
    )
    parser.add_argument("--top-k", type=int, default=0, help="only the k likeliest; 0: all (default)")
    parser.add_argument(
        "--min-p", type=float, default=0.0, help="only tokens with this share of the likeliest's probability"
    )
    parser.add_argument(
        "--repetition-penalty", type=float, default=1.0, help="above 1: tokens that stand there already become rarer"
    )
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end where this would be written")
    parser.add_argument("--max-tokens", type=int, default=200, help="tokens to write at the most (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (default %(default)s)")
    parser.add_argument("--step", type=int, help="checkpoint to use; the newest by default")
    parser.add_argument(
        "--average", action="store_true", help="the parameters' moving average (config.optimizer.ema_decay)"
    )
    parser.epilog = "--config.mesh.tensor=2 and the like set how the model is split."


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    if arguments.max_tokens < 1:
        raise UserError(f"--max-tokens: {arguments.max_tokens} is not positive")
    if bool(arguments.prompt) == arguments.interactive:
        raise UserError("give --prompt=TEXT, or --interactive and type the prompts")
    if arguments.system is not None and not arguments.chat:
        raise UserError("--system: belongs to --chat")
    sampling = Sampling(
        arguments.temperature, arguments.top_k, arguments.top_p, arguments.min_p, arguments.repetition_penalty
    )
    trained = load_model(arguments.workdir, arguments.step, overrides, arguments.average)
    if arguments.chat:
        _chat(trained, arguments, sampling)
    elif arguments.interactive:
        _converse(trained, arguments, sampling)
    elif len(arguments.prompt) == 1:
        _continue(trained, arguments.prompt[0], arguments, sampling, arguments.seed)
    else:
        texts = generate_text(trained, arguments.prompt, arguments.max_tokens, sampling, arguments.seed, arguments.stop)
        for prompt, text in zip(arguments.prompt, texts, strict=True):
            print(f"{prompt}{text}\n")


def _continue(trained: TrainedModel, prompt: str, arguments: argparse.Namespace, sampling: Sampling, seed: int) -> None:
    """Writes the prompt and its continuation, piece by piece as it comes."""
    _show(prompt)
    generate_text(trained, [prompt], arguments.max_tokens, sampling, seed, arguments.stop, _show)
    _show("\n")


def _chat(trained: TrainedModel, arguments: argparse.Namespace, sampling: Sampling) -> None:
    """Answers each prompt by itself; line after line that is typed as one conversation."""
    template = chat_template(as_path(arguments.workdir) / "tokenizer", trained.tokenizer)
    ends, engine = template.ends(), Engine(trained, sampling)
    stop = [*arguments.stop, *[name for name, i in trained.tokenizer.special.items() if i in ends]]
    system = [{"role": "system", "content": arguments.system}] if arguments.system else []
    said = system
    for number, text in enumerate(_typed() if arguments.interactive else arguments.prompt):
        said = [*(said if arguments.interactive else system), {"role": "user", "content": text}]
        prompt = template.prompt(said)
        (answer,) = engine.complete([prompt], arguments.max_tokens, arguments.seed + number, stop, _show)
        _show("\n")
        said = [*said, {"role": ASSISTANT, "content": answer}]


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _converse(trained: TrainedModel, arguments: argparse.Namespace, sampling: Sampling) -> None:
    """Continues line after line, each with a seed of its own, until the input ends."""
    for asked, prompt in enumerate(_typed()):
        _continue(trained, prompt, arguments, sampling, arguments.seed + asked)


def _typed() -> Iterator[str]:
    """The lines that are typed, until the input ends; empty ones are none."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if prompt := line.rstrip("\n"):
            yield prompt
