"""Printing what stands in a data set: its stages, and samples of what left it."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from data_pipeline import engine, removed
from data_pipeline.document import (
    ATTRIBUTES,
    BLOCKS,
    DOCUMENTS,
    INGESTED,
    QUARANTINED,
    REMOVED_DOCUMENTS,
    TOKENIZER,
    VALIDATION,
)
from data_pipeline.report.collect import corpus_report
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path


def show_dataset(dataset: PathLike, console: Console) -> None:
    """Prints which stages of a data set stand, and how much they hold.

    Raises:
      DataError: no such folder.
    """
    dataset = as_path(dataset)
    if not dataset.exists():
        raise DataError(f"{dataset}: no such data set; `maxlm-data ingest` makes one")
    table = Table("what", "state", "rows", title=str(dataset))
    for folder in (INGESTED, QUARANTINED, f"{ATTRIBUTES}/clean", f"{ATTRIBUTES}/dedup", DOCUMENTS, REMOVED_DOCUMENTS):
        if engine.is_complete(dataset / folder):
            names = engine.require(dataset / folder, "ingest")
            rows = sum(engine.read_partition(dataset / folder / name).num_rows for name in names)
            table.add_row(folder, f"{len(names)} partitions", f"{rows:,}")
        else:
            table.add_row(folder, "unfinished" if (dataset / folder).exists() else "not there", "")
    table.add_row(TOKENIZER, "there" if (dataset / TOKENIZER).exists() else "not there", "")
    for folder in (BLOCKS, VALIDATION):
        # A block without its manifest is still being written, or was given up.
        finished = sum(1 for _ in (dataset / folder).glob("*/manifest.json")) if (dataset / folder).exists() else 0
        table.add_row(folder, f"{finished} finished" if finished else "none", "")
    console.print(table)


def show_removed(dataset: PathLike, count: int, reason: str, seed: int, console: Console) -> None:
    """Prints how much each operator took, and up to `count` removed documents a reason, the passage marked."""
    if not reason:
        report = corpus_report(dataset)
        table = Table("operator", "documents", "MB", title="Removed")
        for step in report["funnel"]:
            table.add_row(step["operator"], f"{step['documents']:,}", f"{step['bytes'] / 1e6:,.2f}")
        console.print(table)
    for row in removed.removed_samples(dataset, count, reason, seed):
        figure = "" if row["value"] is None else f" ({row['value']:.4g})"
        console.rule(escape(f"{row['operator']}: {row['reason']}{figure}"), align="left")
        where = f"{row['id']}  {row['source']}  {row['domain']}  {len(row['text']):,} characters"
        console.print(escape(where + (f"\n{row['evidence']}" if row["evidence"] else "")), style="dim")
        before, marked, after = removed.passage(row)
        console.print(Text.assemble(before, (marked, "black on yellow"), after))


def show_quarantine(dataset: PathLike, count: int, console: Console) -> None:
    """Prints up to `count` quarantined pieces a reason."""
    rows = removed.quarantine_samples(dataset, count)
    table = Table("reason", "file", "row", "sample", title="Quarantine" if rows else "Quarantine: nothing")
    for row in rows:
        table.add_row(row["reason"], escape(row["file"]), str(row["row"]), escape(row["sample"]))
    console.print(table)
