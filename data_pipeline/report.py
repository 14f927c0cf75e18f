"""What a corpus is made of, before and after, and what took the difference: as plain values, and as tables."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from etils import epath
from rich.console import Console
from rich.table import Table

from data_pipeline import engine
from data_pipeline.document import ATTRIBUTES, DOCUMENTS, INGESTED, QUARANTINED, REMOVED_DOCUMENTS
from maxlm.paths import PathLike, as_path, write_json

REPORT = "corpus/report.json"
LABELS = ("domain", "language", "source")
Sizes = dict[str, int]  # documents, characters, bytes


def corpus_report(dataset: PathLike) -> dict[str, Any]:
    """Composition, removals, edits and quarantine of a data set, as far as its stages have run; saved beside it.

    Keys: `ingested` and `kept` ({domain, language, source: {name: {documents, characters, bytes}}, total}), `removed`
    ({domain: {operator: {reason: sizes}}}), `edits` ({domain: {kind: places}}, of documents kept by the recipe) and
    `quarantine` ({reason: pieces}). `kept`, `removed` and `edits` are empty where their stage has not run.

    Raises:
      DataError: nothing has been ingested, or a partition is damaged.
    """
    dataset = as_path(dataset)
    engine.require(dataset / INGESTED, "ingest")
    report = {
        "ingested": _composition(dataset / INGESTED),
        "kept": _composition(dataset / DOCUMENTS),
        "removed": _removed(dataset / REMOVED_DOCUMENTS),
        "edits": _edits(dataset),
        "quarantine": dict(sorted(_quarantine(dataset / QUARANTINED).items())),
    }
    write_json(dataset / REPORT, report)
    return report


def _tables(folder: epath.Path, columns: list[str]) -> Iterable[pa.Table]:
    """The partitions of a finished stage one by one; nothing of an unfinished one."""
    if engine.is_complete(folder):
        names = engine.require(folder, "ingest")
        yield from (engine.read_partition(folder / name, columns) for name in names)


def _composition(folder: epath.Path) -> dict[str, Any]:
    by_label: dict[str, dict[tuple[str, ...], Counter[str]]] = {label: {} for label in (*LABELS, "total")}
    for table in _tables(folder, ["text", *LABELS]):
        for label in LABELS:
            _add_sizes(by_label[label], table, [label])
        _add_sizes(by_label["total"], table, [])
    plain = {label: {key[0]: dict(sizes) for key, sizes in sorted(by_label[label].items())} for label in LABELS}
    return {**plain, "total": dict(by_label["total"].get((), {}))} if by_label["total"] else {}


def _add_sizes(into: dict[tuple[str, ...], Counter[str]], table: pa.Table, labels: list[str]) -> None:
    """Adds up documents, characters and bytes of a table for each combination of `labels`."""
    if not table.num_rows:
        return
    measured = table.select(labels).append_column("characters", pc.call_function("utf8_length", [table["text"]]))
    measured = measured.append_column("bytes", pc.call_function("binary_length", [table["text"]]))
    summed = measured.group_by(labels, use_threads=False).aggregate(
        [([], "count_all"), ("characters", "sum"), ("bytes", "sum")]
    )
    for row in summed.to_pylist():
        sizes = into.setdefault(tuple(row[label] for label in labels), Counter())
        sizes.update(documents=row["count_all"], characters=row["characters_sum"], bytes=row["bytes_sum"])


def _removed(folder: epath.Path) -> dict[str, Any]:
    sums: dict[tuple[str, ...], Counter[str]] = {}
    labels = ["domain", "operator", "reason"]
    for table in _tables(folder, ["text", *labels]):
        _add_sizes(sums, table, labels)
    nested: dict[str, Any] = {}
    for (domain, operator, reason), sizes in sorted(sums.items()):
        nested.setdefault(domain, {}).setdefault(operator, {})[reason] = dict(sizes)
    return nested


def _edits(dataset: epath.Path) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    cleaned = _tables(dataset / ATTRIBUTES / "clean", ["reason", "edits"])
    for documents, attributes in zip(_tables(dataset / INGESTED, ["domain"]), cleaned, strict=False):
        columns = documents["domain"], attributes["reason"], attributes["edits"]
        for domain, reason, edits in zip(*(column.to_pylist() for column in columns), strict=True):
            if reason is None and edits:
                counts.setdefault(domain, Counter()).update(dict(edits))
    return {domain: dict(sorted(kinds.items())) for domain, kinds in sorted(counts.items())}


def _quarantine(folder: epath.Path) -> Counter[str]:
    return Counter(reason for table in _tables(folder, ["reason"]) for reason in table["reason"].to_pylist())


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Prints a corpus_report as tables."""
    for label in LABELS:
        console.print(_composition_table(report, label))
    if report["removed"]:
        console.print(_removed_table(report["removed"]))
    for title, counts in (("Edits of kept documents", _flat(report["edits"])), ("Quarantine", report["quarantine"])):
        if counts:
            table = Table("what", "places", title=title)
            for name, count in counts.items():
                table.add_row(name, f"{count:,}")
            console.print(table)


def _composition_table(report: Mapping[str, Any], label: str) -> Table:
    table = Table(label, title=f"Corpus by {label}")
    for column in ("documents", "kept", "characters", "kept", "MB", "kept"):
        table.add_column(column, justify="right")
    before, after = report["ingested"].get(label, {}), report["kept"].get(label, {})
    for name, sizes in before.items():
        table.add_row(name, *_size_cells(sizes, after.get(name, {}), bool(report["kept"])))
    if len(before) > 1:
        total, kept = report["ingested"]["total"], report["kept"].get("total", {})
        table.add_row("total", *_size_cells(total, kept, bool(report["kept"])), style="bold")
    return table


def _size_cells(before: Sizes, after: Sizes, decided: bool) -> list[str]:
    cells = []
    for key, scale, form in (("documents", 1, ",.0f"), ("characters", 1, ",.0f"), ("bytes", 1e6, ",.2f")):
        cells.append(format(before[key] / scale, form))
        cells.append(f"{100 * after.get(key, 0) / (before[key] or 1):.1f} %" if decided else "–")
    return cells


def _removed_table(removed: Mapping[str, Any]) -> Table:
    table = Table("domain", "operator", "reason", title="Removed")
    for column in ("documents", "MB"):
        table.add_column(column, justify="right")
    for domain, operators in removed.items():
        for operator, reasons in operators.items():
            for reason, sizes in reasons.items():
                table.add_row(domain, operator, reason, f"{sizes['documents']:,}", f"{sizes['bytes'] / 1e6:,.2f}")
    return table


def _flat(edits: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {f"{domain} {kind}": count for domain, kinds in edits.items() for kind, count in kinds.items()}
