"""`maxlm import --from=FOLDER --workdir=RUN`"""

import argparse

from maxlm.config import Overrides
from maxlm.models.cost import num_params
from maxlm.paths import as_path
from maxlm.train.checkpoint import quieten_failed_saves
from maxlm.train.transfer import import_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", required=True, dest="source", metavar="FOLDER", help="config.json, safetensors, tokenizer files"
    )
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the new run")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="where the tokenizer's files are, if not there too")
    parser.epilog = (
        "Llama 2 and 3, Mistral, Qwen2.5, Qwen3 and GPT-2. Nothing of the folder is run, pickles are refused. "
        "generate, eval and export work on the run; maxlm train with the same --workdir goes on from it."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    quieten_failed_saves()
    workdir = as_path(arguments.workdir)
    model = import_run(arguments.source, workdir, arguments.tokenizer)
    print(f"{workdir}: {model.model_type}, {num_params(model.config):,} parameters, as the checkpoint of step 0")
