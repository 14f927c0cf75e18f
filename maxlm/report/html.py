"""A run as one self-contained HTML page: no scripts, no fonts, nothing from the network."""

import html
import json
import math
from typing import Any

from maxlm.page import document, table
from maxlm.report import plots
from maxlm.report.collect import MEMORY, RunRecord
from maxlm.report.forgetting import TITLES, forgetting_of, sentence
from maxlm.report.goodput import Goodput

_MOST_HOSTS, _MOST_ALARMS = 20, 50  # rows of a table


def page(record: RunRecord, corpus: dict[str, Any] | None, account: Goodput | None) -> str:
    """The whole page, HTML text."""
    title = f"maxlm run {record.workdir.name}"
    body = [f"<h1>{html.escape(title)}</h1>", _summary(record)]
    if record.metrics:
        body += [
            "<h2>Loss</h2>", plots.loss_curves(record), _validation_table(record), _forgetting_table(record),
            plots.loss_by_position(record), _benchmarks_table(record),
            "<h2>Learning rate and gradient</h2>", plots.learning_rate(record), plots.gradient_norm(record),
            *_norms(record),
            "<h2>Throughput</h2>", plots.throughput(record), plots.utilisation(record), _utilisation_note(record),
            plots.step_times(record), _hosts_table(record),
        ]  # fmt: skip
    body += ["<h2>Where the time went</h2>", _goodput(account)]
    body += ["<h2>Blocks and rollbacks</h2>", _blocks_table(record), _rollbacks_table(record), _alarms_table(record)]
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
        rows += [
            (words, f"{max(line.get(key, 0.0) for line in record.metrics):.2f} GiB")
            for key, words in MEMORY.items()
            if key in record.metrics[-1]
        ]
    return table(("run", str(record.workdir)), rows)


def _goodput(account: Goodput | None) -> str:
    if account is None:
        return "<p>This run's metrics do not tell.</p>"
    rows = [(words, f"{seconds:,.1f}", f"{share:.2%}") for words, seconds, share in account.rows()]
    starts = "one start" if account.starts == 1 else f"{account.starts} starts"
    head = f"<p>Goodput {account.share:.2%} of {account.wall_s:,.0f} s, over {starts}.</p>"
    return head + table(("", "seconds", "share"), rows)


def _utilisation_note(record: RunRecord) -> str:
    """Says what was counted, and the last figure by each convention."""
    last = record.metrics[-1]
    others = (
        f"At step {last['step']}: {last['mfu']:.2%}; with attention over the full square, as PaLM (appendix B) counts, "
        f"{last['mfu_square']:.2%}; without attention {last['mfu_no_attention']:.2%}. "
        if "mfu_square" in last
        else ""
    )
    return (
        '<p class="note">Model FLOPs utilisation counts 6 FLOPs per matmul parameter and token, attention over '
        f"the causal half of the square, no rematerialisation. {others}The peak is the vendor's dense figure for the "
        "model's dtype, or on a CPU a float32 matrix product measured at the start.</p>"
    )


def _norms(record: RunRecord) -> list[str]:
    figures = [
        (name, plots.layer_norms(record, kind)) for kind, name in (("grad", "gradients"), ("param", "parameters"))
    ]
    return [f"<p>Norms of the {name}, layer by layer:</p>{figure}" for name, figure in figures if figure]


def _hosts_table(record: RunRecord) -> str:
    """Means of every host's figures over the lines that stand; the host that is busiest itself comes first."""
    if not record.hosts:
        return ""
    names = [name for name in record.hosts[-1] if name != "step"]
    lines = [line for line in record.hosts if len(line[names[0]]) == len(record.hosts[-1][names[0]])]
    means = [
        [sum(line[name][host] for line in lines) / len(lines) for name in names]
        for host in range(len(lines[0][names[0]]))
    ]
    order = sorted(range(len(means)), key=lambda host: -means[host][names.index("step_s/host")])
    rows = [(host, *(f"{value:.4g}" for value in means[host])) for host in order[:_MOST_HOSTS]]
    note = (
        "<p>Hosts, means over all lines. In a step all wait for each other; a host that holds the others up is one "
        f"that is busy itself for longer (step_s/host). {min(len(means), _MOST_HOSTS)} of {len(means)} are shown:</p>"
    )
    return note + table(("host", *names), rows)


def _alarms_table(record: RunRecord) -> str:
    if not record.alarms:
        return ""
    rows = [
        (
            e["time"][:19],
            e["step"],
            e["detector"],
            *(_figure(e[key]) for key in ("value", "median", "limit")),
            e["policy"],
        )
        for e in record.alarms[-_MOST_ALARMS:]
    ]
    head = f"<p>{len(record.alarms)} alarms; the last {len(rows)}:</p>"
    return head + table(("alarm at", "step", "figure", "value", "median before", "limit", "policy"), rows)


def _figure(value: float | str | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:.4g}"


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


def _benchmarks_table(record: RunRecord) -> str:
    """The first and the last figure of each benchmark that was asked during training."""
    lines = [line for line in record.validation if any(key.startswith("benchmark/") for key in line)]
    if not lines:
        return ""
    names = [key for key in lines[-1] if key.startswith("benchmark/")]
    rows = [(key.removeprefix("benchmark/"), *(f"{line.get(key, math.nan):.4f}" for line in (lines[0], lines[-1])))
            for key in names]  # fmt: skip
    return "<p>Benchmarks:</p>" + table(("", *(f"step {line['step']:.0f}" for line in (lines[0], lines[-1]))), rows)


def _forgetting_table(record: RunRecord) -> str:
    if not (found := forgetting_of(record)):
        return ""
    rows = [one.cells() for one in found]
    return f"<p>Learnt and forgotten, {html.escape(sentence(record, found))}:</p>" + table(TITLES, rows)


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
        (
            e["time"][:19],
            e["to_block"],
            e["from_step"],
            e["to_step"],
            ", ".join(map(str, e["skipped"])) or "none",
            e.get("alarm") or "a person",
        )
        for e in record.rollbacks
    ]
    return table(("rollback at", "to block", "from step", "to step", "blocks left out", "for"), rows)


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
