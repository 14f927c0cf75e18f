"""What the commands of `maxlm-data` do; how they are called stands in data_pipeline/cli.py."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

from data_pipeline.config import DataConfig
from data_pipeline.tokenizer import command as tokenizer
from maxlm.errors import ConfigError, UserError

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
    from rich.console import Console
    from rich.table import Table

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
    from rich.console import Console

    from data_pipeline.mix import forecast
    from data_pipeline.produce import producer

    if options.dry_run:
        foretold = producer.dry_run(config, options.dataset)
        for table in forecast.tables(foretold, config):
            Console().print(table)
        for line in forecast.warnings(foretold):
            print(line)
        forecast.check(foretold, config)
        return f"{foretold.lasts:,} blocks can be made; nothing was written"
    producer.run(config, options.dataset)
    return f"blocks stand in {options.dataset}/blocks"


def _count(dataset: str, folder: str) -> int:
    from data_pipeline import engine
    from maxlm.paths import as_path

    path = as_path(dataset) / folder
    return sum(engine.count_rows(path / name) for name in engine.require(path, "ingest"))


def _report(options: argparse.Namespace) -> None:
    from rich.console import Console

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


def _ledger(options: argparse.Namespace) -> None:
    from rich.console import Console

    from data_pipeline.mix import audit

    if bool(options.list) != bool(options.blocks):
        raise ConfigError("--list=FILE and --blocks=0,1,… go together")
    if options.list:
        from data_pipeline.mix.usage import write_usage

        if not all(part.isdecimal() for part in options.blocks.split(",")):
            raise ConfigError(f"--blocks={options.blocks}: expected numbers with commas between, e.g. 0,1,2")
        blocks = [int(part) for part in options.blocks.split(",")]
        documents, uses = write_usage(options.dataset, blocks, options.list)
        print(f"{options.list}: {documents:,} documents, used {uses:,} times in {len(blocks):,} blocks")
        return
    if options.rebuild:
        print(f"ledger: {audit.rebuild(options.dataset)}")
    Console().print(audit.table(options.dataset))


def _inspect(options: argparse.Namespace) -> None:
    from rich.console import Console

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


LOOKS = {"inspect": _inspect, "ledger": _ledger, "report": _report}  # commands that need no config


@dataclass(frozen=True)
class Step:
    """A command that makes something from a config."""

    run: Callable[[DataConfig, argparse.Namespace], str]
    summary: str
    details: str


STEPS = {
    "ingest": Step(
        _ingest,
        "read the sources into documents",
        "Reads config.sources (text, Markdown, source code, HTML, JSON lines, JSON, CSV, Parquet, WARC and WET, each "
        "also compressed, here or in a bucket) into DATASET/corpus/ingested. What can't be read goes to "
        "DATASET/corpus/quarantine, with reasons.",
    ),
    "clean": Step(
        _clean,
        "judge and edit the documents by the recipe",
        "Runs config.recipe over the documents and writes each one's verdict beside it; nothing is dropped yet.",
    ),
    "segments": Step(
        _segments,
        "cut lines, paragraphs or sentences that many documents share",
        "Finds units (config.segments.unit) that repeat across a source or the corpus and writes beside each document "
        "what is left of it; dedup runs this first where the config asks for it.",
    ),
    "decontaminate": Step(
        _decontaminate,
        "hold the documents against benchmark files",
        "Finds runs of words that documents share with items of config.decontaminate.benchmarks, lists all hits, and "
        "drops, marks or cuts; dedup runs this first where the config asks for it.",
    ),
    "score": Step(
        _score,
        "score the documents by trained models, or train these",
        "Applies config.scores to what the stages so far leave and writes scores and labels beside the documents; with "
        "--train, trains their models from labelled texts first. dedup runs this first where the config asks for it.",
    ),
    "dedup": Step(
        _dedup,
        "find duplicates and decide what stays",
        "Finds exact and near-duplicates among what the recipe keeps, then writes DATASET/documents, and "
        "DATASET/removed with the reason for each.",
    ),
    "decide": Step(
        _decide,
        "write what stays and what goes, from what the stages said",
        "Reads the attributes of all stages beside the documents and writes DATASET/documents and DATASET/removed; "
        "dedup ends with the same.",
    ),
    "tokenizer": Step(
        tokenizer.run,
        "train the tokenizer, audit it, or add tokens to it",
        "Trains config.tokenizer on a sample of DATASET/documents drawn by the mixture and audits it. With --audit, "
        "audits the one that stands there and prints all of it; with --extend, adds tokens to it, into another folder.",
    ),
    "produce": Step(
        _produce,
        "write training blocks, and stay ahead of the training run",
        "Selects, tokenises and packs documents into DATASET/blocks. Run again after an interruption, it goes on.",
    ),
}
