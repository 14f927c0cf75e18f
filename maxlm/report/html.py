"""A run as one self-contained HTML page: no scripts, no fonts, nothing from the network."""

import html
import json
from typing import Any

from maxlm.page import document, table
from maxlm.report import plots
from maxlm.report.collect import RunRecord


def page(record: RunRecord, corpus: dict[str, Any] | None) -> str:
    """The whole page, HTML text."""
    title = f"maxlm run {record.workdir.name}"
    body = [f"<h1>{html.escape(title)}</h1>", _summary(record)]
    if record.metrics:
        body += [
            "<h2>Loss</h2>", plots.loss_curves(record), _validation_table(record),
            "<h2>Learning rate and gradient</h2>", plots.learning_rate(record), plots.gradient_norm(record),
            "<h2>Throughput</h2>", plots.throughput(record), plots.utilisation(record),
            '<p class="note">Model FLOPs utilisation counts 6 FLOPs per matmul parameter and token, attention over '
            "the causal half of the square, no rematerialisation; the peak is the vendor's dense bf16 figure, or on "
            "a CPU a float32 matrix product measured at the start.</p>",
        ]  # fmt: skip
    body += ["<h2>Blocks and rollbacks</h2>", _blocks_table(record), _rollbacks_table(record)]
    body += ["<h2>Data</h2>", _corpus(corpus)]
    body += ["<h2>Config</h2>", f"<pre>{html.escape(json.dumps(record.config, indent=2))}</pre>"]
    return document(title, body)


def _summary(record: RunRecord) -> str:
    rows = [
        ("state", record.state),
        ("step", record.step),
        ("blocks done", f"{record.blocks_done} of {record.config['data']['num_blocks']}"),
        ("blocks left out", ", ".join(map(str, record.skipped)) or "none"),
        ("checkpoints", ", ".join(map(str, record.checkpoints)) or "none"),
    ]
    if record.metrics:
        waits = [line["data_wait_share"] for line in record.metrics]
        rows.append(("share of time spent waiting for data", f"{sum(waits) / len(waits):.2%}"))
    return table(("run", str(record.workdir)), rows)


def _validation_table(record: RunRecord) -> str:
    if not record.validation:
        return ""
    last = record.validation[-1]
    rows = [
        (name, *(f"{last[key]:.4f}" for key in (f"validation/loss{suffix}", f"validation/bpb{suffix}")))
        for name, suffix in [("all", ""), *((d, f"/{d}") for d in plots.domains_of(record))]
        if f"validation/bpb{suffix}" in last
    ]
    return f"<p>Held-out text at step {last['step']}:</p>" + table(("domain", "loss", "bits per byte"), rows)


def _blocks_table(record: RunRecord) -> str:
    rows, classes = [], []
    for block in record.blocks:
        loss = "–" if block.validation_loss is None else f"{block.validation_loss:.4f}"
        rows.append((block.block, block.step, loss, "rolled back" if block.undone else "kept"))
        classes.append("undone" if block.undone else "")
    return table(("block", "ended at step", "validation loss", "outcome"), rows, classes)


def _rollbacks_table(record: RunRecord) -> str:
    if not record.rollbacks:
        return "<p>No rollbacks.</p>"
    rows = [
        (e["time"][:19], e["to_block"], e["from_step"], e["to_step"], ", ".join(map(str, e["skipped"])) or "none")
        for e in record.rollbacks
    ]
    return table(("rollback at", "to block", "from step", "to step", "blocks left out"), rows)


def _corpus(corpus: dict[str, Any] | None) -> str:
    if corpus is None:
        return "<p>The corpus's own report is not at hand (DATASET/corpus/report.json).</p>"
    parts = []
    before, after = corpus["ingested"].get("domain", {}), corpus["kept"].get("domain", {})
    for unit in ("documents", "characters"):
        figure = plots.composition(_sizes(before, unit), _sizes(after, unit), unit)
        parts.append(f"<p>Domains by {unit}, before and after cleaning:</p>{figure}")
    removed = [
        (domain, operator, reason, f"{sizes['documents']:,}", f"{sizes['characters']:,}")
        for domain, operators in corpus["removed"].get("domain", {}).items()
        for operator, reasons in operators.items()
        for reason, sizes in reasons.items()
    ]
    parts.append("<p>Documents that were removed, and why:</p>")
    parts.append(table(("domain", "operator", "reason", "documents", "characters"), removed))
    edits = [(domain, kind, f"{n:,}") for domain, kinds in corpus["edits"].items() for kind, n in kinds.items()]
    parts.append("<p>Places edited in what was kept:</p>" + table(("domain", "edit", "places"), edits))
    quarantined = [(reason, f"{n:,}") for reason, n in corpus["quarantine"].items()] or [("nothing", "0")]
    parts.append("<p>Input that could not be read (quarantine):</p>" + table(("reason", "pieces"), quarantined))
    return "".join(parts)


def _sizes(domains: dict[str, dict[str, int]], unit: str) -> dict[str, float]:
    return {name: float(sizes[unit]) for name, sizes in domains.items()}
