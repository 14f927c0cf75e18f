"""`maxlm eval --workdir=RUN`"""

import argparse
import json
from collections.abc import Sequence

import jax
from rich.console import Console
from rich.table import Table

from maxlm.blocks.reader import BlockStore
from maxlm.config import Overrides
from maxlm.errors import DataError
from maxlm.eval.perplexity import Validation
from maxlm.generate.load import load_model
from maxlm.train.config import check_divides
from maxlm.train.history import journal_of, trained_blocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--step", type=int, help="checkpoint to look at; the newest by default")
    parser.add_argument(
        "--dataset", metavar="DIR", help="data set whose held-out block to use; the run's own by default"
    )
    parser.add_argument(
        "--average", action="store_true", help="the parameters' moving average (config.optimizer.ema_decay)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.epilog = (
        "--config.mesh.fsdp=2 and the like set how the model is split, --config.train.eval_rows=0 how much is read."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    trained = load_model(arguments.workdir, arguments.step, overrides, arguments.average)
    config = trained.config
    own_store = BlockStore(config.data.dataset)
    store = BlockStore(arguments.dataset) if arguments.dataset else own_store
    check_divides(config, trained.mesh, store.info.lengths)
    if store.info.tokenizer_digest != trained.tokenizer.digest:
        raise DataError(f"{store.dataset}: made with another tokenizer than this run's")
    with jax.set_mesh(trained.mesh):
        validation = Validation(config, store, trained.model, trained.mesh, trained.tokenizer.token_bytes())
        values = validation(trained.params)
    step = trained.meta.position.step
    blocks = [block for block in trained_blocks(journal_of(arguments.workdir), step) if own_store.has(block)]
    if blocks and own_store.info.domains == store.info.domains:
        values |= validation.unigram(own_store, blocks)
    if arguments.json:
        print(json.dumps({"step": step, **values}, indent=2))
    else:
        Console().print(_table(values, step, store.info.domains))


def _table(values: dict[str, float], step: int, domains: Sequence[str]) -> Table:
    table = Table(title=f"held-out text at step {step}; loss in nats per token")
    for name in ("domain", "loss", "unigram loss", "bits/byte", "unigram bits/byte"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    for name, suffix in [(domain, f"/{domain}") for domain in domains] + [("all", "")]:
        cells = [values.get(f"{kind}/{what}{suffix}") for what in ("loss", "bpb") for kind in ("validation", "unigram")]
        table.add_row(name, *("–" if cell is None else f"{cell:.4f}" for cell in cells))
    return table
