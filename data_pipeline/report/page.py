"""A corpus report as one HTML page: the funnel, distributions before and after, alarms, and samples of what went."""

import html
from collections.abc import Iterable, Mapping
from typing import Any

from data_pipeline.removed import passage
from data_pipeline.report.collect import LABELS
from data_pipeline.report.shift import Alarm
from data_pipeline.report.tables import size_cells
from maxlm import page


def corpus_page(report: Mapping[str, Any], samples: Iterable[Mapping[str, Any]], title: str) -> str:
    """The whole page, HTML text; `samples` are removed documents (removed.removed_samples)."""
    body = [f"<h1>Corpus {html.escape(title)}</h1>", *_alarms(report["alarms"])]
    if report["funnel"]:
        body += ["<h2>Funnel</h2>", _funnel(report)]
    body += ["<h2>Composition</h2>", '<p class="note">Bars: share of the characters before (pale) and after.</p>']
    body += [_composition(report, label) for label in LABELS]
    body += ["<h2>Lengths</h2>", *_lengths(report)]
    body += ["<h2>Removed, by reason</h2>", _reasons(report["removed"].get("domain", {})), *map(_sample, samples)]
    for heading, counts in (("Edits", report["edits"]), ("Marks", report["marks"])):
        rows = [(domain, kind, f"{n:,}") for domain, kinds in counts.items() for kind, n in kinds.items()]
        if rows:
            body += [f"<h2>{heading} in what was kept</h2>", page.table(("domain", "what", "count"), rows)]
    quarantined = [(reason, f"{n:,}") for reason, n in report["quarantine"].items()] or [("nothing", "0")]
    body += ["<h2>Quarantine</h2>", page.table(("reason", "pieces"), quarantined)]
    return page.document(f"Corpus {title}", body)


def _alarms(alarms: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = [f'<p class="alarm">{html.escape(Alarm(**alarm).sentence())}</p>' for alarm in alarms]
    return ["<h2>Shift alarms</h2>", *lines] if lines else ['<p class="note">No shift alarm.</p>']


def _funnel(report: Mapping[str, Any]) -> str:
    total = report["ingested"]["total"]
    left = dict(total)
    rows = [("ingested", "", f"{total['documents']:,}", f"{total['bytes'] / 1e6:,.2f}", page.bars(1, 1))]
    for step in report["funnel"]:
        before = left["bytes"] / total["bytes"]
        left = {key: left[key] - step[key] for key in ("documents", "bytes")}
        shares = page.bars(before, left["bytes"] / total["bytes"])
        gone = f"−{step['documents']:,}"
        rows.append((step["operator"], gone, f"{left['documents']:,}", f"{left['bytes'] / 1e6:,.2f}", shares))
    return page.table(("after", "removed", "documents left", "MB left", "share of bytes"), rows)


def _composition(report: Mapping[str, Any], label: str) -> str:
    before, after = report["ingested"].get(label, {}), report["kept"].get(label, {})
    totals = [sum(sizes["characters"] for sizes in side.values()) or 1 for side in (before, after)]
    rows = []
    for name, sizes in before.items():
        kept = after.get(name, {})
        shares = page.bars(sizes["characters"] / totals[0], kept.get("characters", 0) / totals[1])
        rows.append((name, *size_cells(sizes, kept, bool(report["kept"])), shares))
    return page.table((label, "documents", "kept", "characters", "kept", "MB", "kept", "share"), rows)


def _lengths(report: Mapping[str, Any]) -> list[str]:
    """Histograms of the documents' lengths by domain; shares of that domain's documents."""
    tables = []
    for domain, before in report["lengths"]["ingested"].items():
        after = report["lengths"]["kept"].get(domain, [0] * len(before))
        totals = sum(before), sum(after) or 1
        rows = [
            (
                f"{2**i:,} – {2 ** (i + 1) - 1:,}",
                f"{count:,}",
                f"{kept:,}",
                page.bars(count / totals[0], kept / totals[1]),
            )
            for i, (count, kept) in enumerate(zip(before, after, strict=True))
            if count or kept
        ]
        tables.append(page.table((f"{domain}, characters", "before", "after", "share of documents"), rows))
    return tables


def _reasons(removed: Mapping[str, Any]) -> str:
    rows = [
        (domain, operator, reason, f"{sizes['documents']:,}", f"{sizes['bytes'] / 1e6:,.2f}")
        for domain, operators in removed.items()
        for operator, reasons in operators.items()
        for reason, sizes in reasons.items()
    ]
    return page.table(("domain", "operator", "reason", "documents", "MB"), rows) if rows else "<p>Nothing.</p>"


def _sample(row: Mapping[str, Any]) -> str:
    before, marked, after = (html.escape(part) for part in passage(row))
    figure = "" if row["value"] is None else f", {row['value']:.4g}"
    where = f"{row['domain']} · {row['source']} · {row['id']}" + (f" · {row['evidence']}" if row["evidence"] else "")
    text = f"{before}<mark>{marked}</mark>{after}" if marked else before + after
    return (
        f"<details><summary>{html.escape(row['operator'])}: {html.escape(row['reason'])}{figure}</summary>"
        f'<p class="note">{html.escape(where)}</p><pre class="text">{text}</pre></details>'
    )
