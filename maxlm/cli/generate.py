"""`maxlm generate --workdir=RUN --prompt …`"""

import argparse
import sys

from maxlm.config import Overrides
from maxlm.errors import UserError
from maxlm.generate.engine import Engine, generate_text
from maxlm.generate.load import load_model
from maxlm.generate.sampling import Sampling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--prompt", action="append", required=True, help="text to continue; may be given several times")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="0: always the likeliest token (default %(default)s)"
    )
    parser.add_argument(
        "--top-p", type=float, default=0.95, help="only the likeliest tokens that sum to this (default %(default)s)"
    )
    parser.add_argument("--top-k", type=int, default=0, help="only the k likeliest; 0: all (default)")
    parser.add_argument("--max-tokens", type=int, default=200, help="tokens to write at the most (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same text (default %(default)s)")
    parser.add_argument("--step", type=int, help="checkpoint to use; the newest by default")


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    if arguments.max_tokens < 1:
        raise UserError(f"--max-tokens: {arguments.max_tokens} is not positive")
    sampling = Sampling(arguments.temperature, arguments.top_k, arguments.top_p)
    trained = load_model(arguments.workdir, arguments.step)
    if len(arguments.prompt) > 1:
        texts = generate_text(trained, arguments.prompt, arguments.max_tokens, sampling, arguments.seed)
        for prompt, text in zip(arguments.prompt, texts, strict=True):
            print(f"{prompt}{text}\n")
        return
    prompt = arguments.prompt[0]
    sys.stdout.write(prompt)
    tokens: list[int] = []
    written = ""
    encoded = [[trained.tokenizer.bos_id, *trained.tokenizer.encode(prompt)]]
    for column in Engine(trained, sampling).stream(encoded, arguments.max_tokens, arguments.seed):
        if column[0] != trained.tokenizer.eos_id:
            tokens.append(int(column[0]))
            text = trained.tokenizer.decode(tokens)
            if not text.endswith("\ufffd"):  # half of a character: wait for its other bytes
                sys.stdout.write(text[len(written) :])
                sys.stdout.flush()
                written = text
    sys.stdout.write("\n")
