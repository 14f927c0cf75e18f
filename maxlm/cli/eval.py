"""`maxlm eval --workdir=RUN`: held-out loss, or with `--tasks=…` benchmarks."""

import argparse
import json
from collections.abc import Sequence

import jax
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from maxlm.blocks.reader import BlockStore
from maxlm.config import Overrides
from maxlm.errors import ConfigError, DataError, UserError
from maxlm.eval.benchmark import Result, evaluate
from maxlm.eval.formats import READERS, Benchmark
from maxlm.eval.pairs import LIKELIER
from maxlm.eval.passkey import passkey
from maxlm.eval.perplexity import POSITION, Validation
from maxlm.eval.tasks import PASSKEY, read_tasks
from maxlm.generate.load import TrainedModel, load_model
from maxlm.paths import write_atomic
from maxlm.train.config import check_divides
from maxlm.train.history import journal_of, trained_blocks
from maxlm.train.transfer import longest_context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--step", type=int, help="checkpoint to look at; the newest by default")
    parser.add_argument(
        "--dataset", metavar="DIR", help="data set whose held-out block to use; the run's own by default"
    )
    parser.add_argument(
        "--average", action="store_true", help="the parameters' moving average (config.optimizer.ema_decay)"
    )
    parser.add_argument(
        "--tasks",
        metavar="NAME:PATH,…",
        help=f"benchmarks on disk instead: {', '.join(READERS)}; passkey, which needs no file; any other NAME alone is "
        "a task of lm-evaluation-harness",
    )
    parser.add_argument("--shots", type=int, default=0, help="with --tasks: solved questions to show before each")
    parser.add_argument("--limit", type=int, help="with --tasks: only the first so many questions")
    parser.add_argument("--batch", type=int, default=8, help="with --tasks: rows at a time (default %(default)s)")
    parser.add_argument("--max-length", type=int, metavar="TOKENS", help="with --tasks: tokens that are read at most")
    parser.add_argument(
        "--samples", metavar="FILE", help="with --tasks: write what was said to each question, as jsonl"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.epilog = (
        "--config.mesh.fsdp=2 and the like set how the model is split, --config.train.eval_rows=0 how much is read."
    )


def run(arguments: argparse.Namespace, overrides: Overrides) -> None:
    for name in ("batch", "limit", "max_length"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')}: {value} is not positive")
    if arguments.shots < 0:
        raise UserError(f"--shots: {arguments.shots} is less than 0")
    tasks = read_tasks(arguments.tasks) if arguments.tasks else {}  # before the model is loaded
    trained = load_model(arguments.workdir, arguments.step, overrides, arguments.average)
    if arguments.tasks:
        _run_tasks(arguments, trained, tasks)
    else:
        _held_out(arguments, trained)


def _run_tasks(arguments: argparse.Namespace, trained: TrainedModel, tasks: dict[str, Benchmark | None]) -> None:
    length = arguments.max_length or longest_context(arguments.workdir, trained.config)
    if PASSKEY in tasks:
        tasks[PASSKEY] = passkey(trained.tokenizer, length)
    results: dict[str, Result] = {}
    for name, benchmark in tasks.items():
        if benchmark is not None:
            with Progress(transient=True, console=Console(stderr=True)) as progress:
                results[name] = _run_task(arguments, trained, benchmark, length, progress, name)
    if others := [name for name, benchmark in tasks.items() if benchmark is None]:
        results |= _by_harness(arguments, trained, others, length)
    if arguments.samples:
        lines = [{"task": name, **sample} for name, result in results.items() for sample in result.samples]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_atomic(arguments.samples, text)
    step = trained.meta.position.step
    if arguments.json:
        print(json.dumps({"step": step, **{name: result.metrics for name, result in results.items()}}, indent=2))
    else:
        Console().print(_scores(results, step))
        if PASSKEY in results:
            Console().print(_depths(results[PASSKEY]))


def _run_task(
    arguments: argparse.Namespace,
    trained: TrainedModel,
    benchmark: Benchmark,
    length: int,
    progress: Progress,
    name: str,
) -> Result:
    benchmark = benchmark.first(arguments.limit)
    total = sum(max(1, len(item.choices)) for item in benchmark.items)
    bar = progress.add_task(name, total=total)
    return evaluate(
        trained,
        benchmark,
        length,
        shots=arguments.shots,
        batch=arguments.batch,
        progress=lambda done: progress.advance(bar, done),
    )


def _by_harness(
    arguments: argparse.Namespace, trained: TrainedModel, names: list[str], length: int
) -> dict[str, Result]:
    try:
        from maxlm.eval.harness import evaluate_tasks
    except ImportError as error:
        raise ConfigError(
            f"--tasks={names[0]}: without a file it is a task of lm-evaluation-harness: pip install 'maxlm[eval]'"
        ) from error
    return evaluate_tasks(
        trained, names, arguments.workdir, length, shots=arguments.shots, batch=arguments.batch, limit=arguments.limit
    )


def _scores(results: dict[str, Result], step: int) -> Table:
    table = Table(title=f"benchmarks at step {step}")
    for name in ("task", "metric", "value", "± stderr", "questions"):
        table.add_column(name, justify="left" if name in ("task", "metric") else "right")
    for task, result in results.items():
        for metric, value in result.metrics.items():
            error = f"{result.stderr[metric]:.4f}" if metric in result.stderr else "–"
            table.add_row(task, metric, f"{value:.4f}", error, f"{len(result.samples):,}")
    return table


def _depths(result: Result) -> Table:
    """Share of the pass keys that were said, by length and depth."""
    found: dict[str, dict[str, list[bool]]] = {}
    for sample in result.samples:
        length, depth = sample["group"].split(", ")
        found.setdefault(length, {}).setdefault(depth.removeprefix("depth "), []).append(sample["acc"])
    table = Table(title="pass keys found, by length and by where they stand")
    table.add_column("")
    for depth in next(iter(found.values())):
        table.add_column(depth, justify="right")
    for length, by_depth in found.items():
        table.add_row(length, *(f"{sum(said) / len(said):.2f}" for said in by_depth.values()))
    return table


def _held_out(arguments: argparse.Namespace, trained: TrainedModel) -> None:
    config = trained.config
    if not (arguments.dataset or config.data.dataset):
        raise UserError("--dataset: name the data set; an imported run has none of its own")
    own_store = BlockStore(config.data.dataset) if config.data.dataset else None
    store = BlockStore(arguments.dataset) if arguments.dataset or own_store is None else own_store
    # Rows as long as those of the last block that it was trained on.
    done = max(trained.meta.position.finished_block, 0)
    length = max(store.info.rows_in(done)) if store is own_store else store.info.seq_len
    check_divides(config, trained.mesh, {length: store.info.batch_of(length, config.train.batch)})
    if store.info.tokenizer_digest != trained.tokenizer.digest:
        raise DataError(f"{store.dataset}: made with another tokenizer than this run's")
    with jax.set_mesh(trained.mesh):
        validation = Validation(config, store, trained.model, trained.mesh, trained.tokenizer.token_bytes(), length)
        values = validation(trained.params)
    step = trained.meta.position.step
    trained_on = trained_blocks(journal_of(arguments.workdir), step)
    blocks = [block for block in trained_on if own_store and own_store.has(block)]
    if own_store and blocks and own_store.info.domains == store.info.domains:
        values |= validation.unigram(own_store, blocks)
    if arguments.json:
        print(json.dumps({"step": step, **values}, indent=2))
    else:
        Console().print(_table(values, step, store.info.domains))
        Console().print(_positions(values))
        if LIKELIER in values:
            Console().print(f"of held-out pairs, the preferred answer is the likelier in {values[LIKELIER]:.1%}")


def _positions(values: dict[str, float]) -> Table:
    table = Table(title="loss by how much of its document a token has before it; nats per token")
    for name in ("tokens before it", "loss"):
        table.add_column(name, justify="right")
    for name, value in values.items():
        if name.startswith(POSITION):
            table.add_row(f"{name.removeprefix(POSITION)} and more", f"{value:.4f}")
    return table


def _table(values: dict[str, float], step: int, domains: Sequence[str]) -> Table:
    table = Table(title=f"held-out text at step {step}; loss in nats per token")
    for name in ("domain", "loss", "unigram loss", "bits/byte", "unigram bits/byte"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    for name, suffix in [(domain, f"/{domain}") for domain in domains] + [("all", "")]:
        cells = [values.get(f"{kind}/{what}{suffix}") for what in ("loss", "bpb") for kind in ("validation", "unigram")]
        table.add_row(name, *("–" if cell is None else f"{cell:.4f}" for cell in cells))
    return table
