"""A corpus report as tables on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_pipeline.report.collect import LABELS, Sizes
from data_pipeline.report.shift import Alarm


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Prints a corpus_report as tables, the alarms last, where the eye is."""
    for label in LABELS:
        console.print(_composition_table(report, label))
    if report["removed"]:
        console.print(_removed_table(report["removed"]["domain"]))
    for title, counts in (
        ("Edits of kept documents", _flat(report["edits"])),
        ("Marks on kept documents", _flat(report["marks"])),
        ("Quarantine", report["quarantine"]),
    ):
        if counts:
            table = Table("what", "places", title=title)
            for name, count in counts.items():
                table.add_row(name, f"{count:,}")
            console.print(table)
    for alarm in report["alarms"]:
        console.print(f"[bold red]shift alarm[/]: {escape(Alarm(**alarm).sentence())}")


def _composition_table(report: Mapping[str, Any], label: str) -> Table:
    table = Table(label, title=f"Corpus by {label}")
    for column in ("documents", "kept", "characters", "kept", "MB", "kept"):
        table.add_column(column, justify="right")
    before, after = report["ingested"].get(label, {}), report["kept"].get(label, {})
    for name, sizes in before.items():
        table.add_row(name, *size_cells(sizes, after.get(name, {}), bool(report["kept"])))
    if len(before) > 1:
        total, kept = report["ingested"]["total"], report["kept"].get("total", {})
        table.add_row("total", *size_cells(total, kept, bool(report["kept"])), style="bold")
    return table


def size_cells(before: Sizes, after: Sizes, decided: bool) -> list[str]:
    """Documents, characters and megabytes, each with the share that was kept ("–" before anything is decided)."""
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
