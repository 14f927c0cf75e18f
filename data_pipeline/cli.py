"""The command line of the data side: `maxlm-data COMMAND --help` says what each command does."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from data_pipeline.config import DataConfig
from data_pipeline.tokenizer import command as tokenizer
from maxlm import config as config_lib
from maxlm.errors import ConfigError, UserError, did_you_mean

_PAGE_SAMPLES = 3  # removed documents of each reason on the page of `report`

# Commands import what they run when they run: --help answers at once, and looking at a data set needs no engine.


def _ingest(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline import ingest
    from data_pipeline.document import INGESTED, QUARANTINED

    ingest.run(config, options.dataset)
    documents, bad = _count(options.dataset, INGESTED), _count(options.dataset, QUARANTINED)
    look = " (look: maxlm-data inspect --quarantine)" if bad else ""
    return f"{documents:,} documents; {bad:,} pieces of input in quarantine{look}"


def _clean(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline import engine, recipe
    from maxlm.paths import as_path

    recipe.run(config, options.dataset)
    folder = as_path(options.dataset) / recipe.CLEANED
    reasons = [engine.read_partition(folder / n, ["reason"])["reason"] for n in engine.require(folder, "clean")]
    documents = sum(map(len, reasons))
    dropped = documents - sum(column.null_count for column in reasons)
    return f"{documents:,} documents judged, {dropped:,} to be dropped (dedup drops them)"


def _segments(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline.segments import stage as segments

    if not config.segments.unit:
        raise ConfigError("config.segments.unit: name what to cut: line, paragraph or sentence")
    segments.run(config, options.dataset)
    edited, dropped = segments.count(options.dataset)
    return f"repeats to be cut from {edited:,} documents, {dropped:,} to be dropped (look: corpus/segments.jsonl)"


def _decontaminate(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline.decontamination import contamination
    from data_pipeline.decontamination import stage as decontaminate
    from data_pipeline.segments import stage as segments

    if not config.decontaminate.benchmarks:
        raise ConfigError("config.decontaminate.benchmarks: name the benchmark files, as paths or globs")
    segments.run(config, options.dataset)
    decontaminate.run(config, options.dataset)
    items, documents = contamination.count(options.dataset)
    return f"{items:,} benchmark items found in {documents:,} documents (look: maxlm-data inspect --hits)"


def _score(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline import score

    if not config.scores:
        raise ConfigError("config.scores: names no score")
    if options.train:
        return _train_scores(config, options)
    if not options.dataset:
        raise UserError("score: name the data set to score (--dataset=DIR), or train models (--train)")
    score.run(config, options.dataset)
    return f"{', '.join(s.name for s in config.scores)} stand beside the documents (config.keep makes use of them)"


def _train_scores(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline.score import stage

    chosen = [score for score in config.scores if options.name in ("", score.name)]
    if not chosen:
        raise ConfigError(f"--name: config.scores has no {options.name!r}")
    if len(chosen) > 1 and (options.out or options.labelled):
        raise ConfigError("--out and --labelled are for one score: name it (--name)")
    told = []
    for score in chosen:
        report = stage.train(score, options.out, options.labelled, options.encoder, print)
        held = report.get("held_out", {})
        figures = ", ".join(f"{name} {value:.4g}" for name, value in held.items() if isinstance(value, int | float))
        told.append(f"{score.name} stands in {options.out or score.model} (held out: {figures})")
    return "; ".join(told)


def _dedup(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline import dedup

    if options.target_tokens is not None:
        config = _with_threshold_for(options.target_tokens, config, options)
    dedup.run(config, options.dataset)
    return _decided(options)


def _with_threshold_for(tokens: int, config: DataConfig, options: argparse.Namespace) -> DataConfig:
    """The config with the threshold that leaves about so many tokens; prints what each would leave."""
    from data_pipeline import dedup
    from data_pipeline.dedup.target import choose

    config, rows = dedup.try_thresholds(config, options.dataset)
    chosen = choose(rows, tokens)
    table = Table("threshold", "documents kept", "tokens kept (estimate)", "")
    for row in rows:
        mark = "chosen" if row is chosen else ""
        table.add_row(f"{row.threshold:.2f}", f"{row.documents:,}", f"{row.tokens:,}", mark)
    Console().print(table)
    said = f"--config.dedup.threshold={chosen.threshold} --config.dedup.lowest={config.dedup.lowest}"
    print(f"{tokens:,} tokens are nearest at {chosen.threshold}; from now on: {said}")
    return replace(config, dedup=replace(config.dedup, threshold=chosen.threshold))


def _decide(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline import decide, dedup

    dedup.require_current(config, options.dataset)
    decide.run(config, options.dataset)
    return _decided(options)


def _decided(options: argparse.Namespace) -> str:
    from data_pipeline.document import DOCUMENTS, REMOVED_DOCUMENTS

    kept, removed = _count(options.dataset, DOCUMENTS), _count(options.dataset, REMOVED_DOCUMENTS)
    return f"{kept:,} documents kept, {removed:,} removed (look: maxlm-data report, maxlm-data inspect --removed)"


def _produce(config: DataConfig, options: argparse.Namespace) -> str:
    from data_pipeline.produce import producer

    producer.run(config, options.dataset)
    return f"blocks stand in {options.dataset}/blocks"


def _count(dataset: str, folder: str) -> int:
    from data_pipeline import engine
    from maxlm.paths import as_path

    path = as_path(dataset) / folder
    return sum(engine.read_partition(path / name).num_rows for name in engine.require(path, "ingest"))


def _report(options: argparse.Namespace) -> None:
    from data_pipeline.removed import removed_samples
    from data_pipeline.report.collect import corpus_report
    from data_pipeline.report.page import corpus_page
    from data_pipeline.report.tables import print_report
    from maxlm.paths import as_path, write_atomic

    report = corpus_report(options.dataset)
    print_report(report, Console())
    samples = removed_samples(options.dataset, _PAGE_SAMPLES, seed=options.seed) if report["removed"] else []
    page = as_path(options.html or f"{options.dataset}/corpus/report.html")
    write_atomic(page, corpus_page(report, samples, str(options.dataset)))
    print(f"report: {page}")


def _inspect(options: argparse.Namespace) -> None:
    from data_pipeline import inspection

    console = Console()
    if options.block is not None:
        from data_pipeline.produce import inspect

        inspect.show_block(options.dataset, options.block, options.n)
    elif options.removed or options.reason:
        inspection.show_removed(options.dataset, options.n, options.reason, options.seed, console)
    elif options.hits:
        from data_pipeline.decontamination import contamination

        contamination.show_hits(options.dataset, options.n, console)
    elif options.quarantine:
        inspection.show_quarantine(options.dataset, options.n, console)
    else:
        inspection.show_dataset(options.dataset, console)


@dataclass(frozen=True)
class _Step:
    """A command that makes something from a config."""

    run: Callable[[DataConfig, argparse.Namespace], str]
    summary: str
    details: str


STEPS = {
    "ingest": _Step(
        _ingest,
        "read the sources into documents",
        "Reads config.sources (text, Markdown, source code, HTML, JSON lines, JSON, CSV, Parquet, WARC and WET, each "
        "also compressed, here or in a bucket) into DATASET/corpus/ingested. What can't be read goes to "
        "DATASET/corpus/quarantine, with reasons.",
    ),
    "clean": _Step(
        _clean,
        "judge and edit the documents by the recipe",
        "Runs config.recipe over the documents and writes each one's verdict beside it; nothing is dropped yet.",
    ),
    "segments": _Step(
        _segments,
        "cut lines, paragraphs or sentences that many documents share",
        "Finds units (config.segments.unit) that repeat across a source or the corpus and writes beside each document "
        "what is left of it; dedup runs this first where the config asks for it.",
    ),
    "decontaminate": _Step(
        _decontaminate,
        "hold the documents against benchmark files",
        "Finds runs of words that documents share with items of config.decontaminate.benchmarks, lists all hits, and "
        "drops, marks or cuts; dedup runs this first where the config asks for it.",
    ),
    "score": _Step(
        _score,
        "score the documents by trained models, or train these",
        "Applies config.scores to what the stages so far leave and writes scores and labels beside the documents; with "
        "--train, trains their models from labelled texts first. dedup runs this first where the config asks for it.",
    ),
    "dedup": _Step(
        _dedup,
        "find duplicates and decide what stays",
        "Finds exact and near-duplicates among what the recipe keeps, then writes DATASET/documents, and "
        "DATASET/removed with the reason for each.",
    ),
    "decide": _Step(
        _decide,
        "write what stays and what goes, from what the stages said",
        "Reads the attributes of all stages beside the documents and writes DATASET/documents and DATASET/removed; "
        "dedup ends with the same.",
    ),
    "tokenizer": _Step(
        tokenizer.run,
        "train the tokenizer, audit it, or add tokens to it",
        "Trains config.tokenizer on a sample of DATASET/documents drawn by the mixture and audits it. With --audit, "
        "audits the one that stands there and prints all of it; with --extend, adds tokens to it, into another folder.",
    ),
    "produce": _Step(
        _produce,
        "write training blocks, and stay ahead of the training run",
        "Selects, tokenises and packs documents into DATASET/blocks. Run again after an interruption, it goes on.",
    ),
}


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
    known = [*STEPS, "inspect", "report"]
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
        (_inspect if options.command == "inspect" else _report)(options)


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
