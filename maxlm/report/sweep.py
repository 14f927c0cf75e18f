"""Sweeps as one self-contained page that a team can decide from."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from maxlm.page import document, table
from maxlm.report.collect import RunRecord
from maxlm.report.fits import number, section
from maxlm.report.plots import COLORS, svg

_CURVES = 60  # runs whose curves are drawn
_TITLES = {
    "loss": "Loss by size and tokens", "isoflop": "Best size by compute", "learning_rate": "Learning rate",
    "batch": "Batch", "mixture": "Mixture", "curriculum": "Order", "downstream": "Benchmarks",
}  # fmt: skip
_SHARE, _LOSS = "share/", "loss/"


@dataclass(frozen=True)
class Part:
    """One sweep of a page."""

    name: str
    statuses: Sequence[Mapping[str, Any]]  # run, state and note of every job
    results: Sequence[Mapping[str, Any]] = ()  # rows of results.jsonl
    records: Sequence[RunRecord] = ()  # folders of the runs that are done, for their curves
    fits: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # by kind, what could be fitted
    reasons: Mapping[str, str] = field(default_factory=dict)  # by kind, why it could not
    recommended: Sequence[tuple[str, str]] = ()  # what to do, and why


def page(parts: Sequence[Part]) -> str:
    """The whole page, HTML text."""
    title = f"maxlm sweep {', '.join(part.name for part in parts)}"
    body = [f"<h1>{html.escape(title)}</h1>", _summary(parts)]
    several = len(parts) > 1
    advice = [(f"{part.name}: {what}" if several else what, why) for part in parts for what, why in part.recommended]
    body += ["<h2>What to do</h2>", _recommended(advice)]
    for part in parts:
        more = f" of {part.name}" if several else ""
        if part.records:
            body += [f"<h2>Curves{html.escape(more)}</h2>", curves(part.records)]
        for kind, fit in part.fits.items():
            body += [f"<h2>{html.escape(_TITLES[kind] + more)}</h2>", section(fit)]
        if len({row["data"] for row in part.results}) > 1:
            body += [f"<h2>Data sets{html.escape(more)}</h2>", _by_data(part.results)]
    fitted = {kind for part in parts for kind in part.fits}
    reasons = {kind: why for part in parts for kind, why in part.reasons.items() if kind not in fitted}
    if reasons:
        rows = [(_TITLES[kind], reason) for kind, reason in reasons.items()]
        body += ["<h2>Not fitted</h2>", table(("what", "why"), rows)]
    for part in parts:
        more = f" of {part.name}" if several else ""
        body += [f"<h2>Runs{html.escape(more)}</h2>", _runs(part.statuses, part.results)]
    return document(title, body)


def _summary(parts: Sequence[Part]) -> str:
    states = [status["state"] for part in parts for status in part.statuses]
    results = [row for part in parts for row in part.results]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    flops = sum(row["model_flops"] for row in results)
    rows = [
        ("runs", counts or "none"),
        ("compute of the runs that are done", f"{flops:.3g} FLOPs; those of a branch's stable part counted in each"),
    ]
    if results:
        sizes, tokens = [row["params"] for row in results], [row["tokens"] for row in results]
        rows.append(("sizes", f"{min(sizes):,.0f} to {max(sizes):,.0f} parameters"))
        rows.append(("tokens", f"{min(tokens):.3g} to {max(tokens):.3g}"))
    return table(("sweep", ""), rows)


def _recommended(recommended: Sequence[tuple[str, str]]) -> str:
    if not recommended:
        return "<p class='alarm'>The runs allow no fit yet: see below what is missing.</p>"
    items = "".join(f"<li><b>{html.escape(what)}</b><br>{html.escape(why)}</li>" for what, why in recommended)
    return f"<ol>{items}</ol><p class='note'>Forecasts far beyond the largest run are only as good as the law.</p>"


def curves(records: Sequence[RunRecord]) -> str:
    """Training loss of the runs, over their steps; dots are held-out losses."""

    def draw(axes: Axes) -> None:
        for i, record in enumerate(records[:_CURVES]):
            color = COLORS[i % len(COLORS)]
            lines = record.metrics
            axes.plot([m["step"] for m in lines], [m["loss"] for m in lines], linewidth=0.9, color=color)
            held = [m for m in record.validation if "validation/loss" in m]
            axes.plot([m["step"] for m in held], [m["validation/loss"] for m in held], "o", markersize=3, color=color)
        axes.set_ylabel("loss, nats per token")

    left_out = f" ({len(records) - _CURVES} more are not drawn)" if len(records) > _CURVES else ""
    return svg(draw) + f"<p class='note'>Lines: training; dots: held-out{left_out}.</p>"


def _by_data(results: Sequence[Mapping[str, Any]]) -> str:
    """Held-out losses of each data set, over its runs, the lowest mean of the domains first."""
    common = set.intersection(*(set(row) for row in results))  # held-out text may lack a domain
    domains = [key.removeprefix(_LOSS) for key in results[0] if key.startswith(_LOSS) and key in common]
    listed = []
    for data in dict.fromkeys(row["data"] for row in results):
        rows = [row for row in results if row["data"] == data]
        losses = np.array([[row[_LOSS + name] for name in domains] or [row["loss"]] for row in rows])
        means = losses.mean(axis=1)
        spread = f" ({number(means.min())} to {number(means.max())})" if len(rows) > 1 else ""
        shares = [f"{rows[0][_SHARE + name]:.0%}" if _SHARE + name in rows[0] else "" for name in domains]
        cells = (data, *shares, *map(number, losses.mean(axis=0) if domains else ()), number(means.mean()) + spread)
        listed.append((means.mean(), (*cells, len(rows))))
    header = ("data", *(f"share of {name}" for name in domains), *(f"loss of {name}" for name in domains))
    return table((*header, "mean loss", "runs"), [row for _, row in sorted(listed, key=lambda one: one[0])])


def _runs(statuses: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> str:
    found, rows = {row["run"]: row for row in results}, []
    for status in statuses:
        row = found.get(status["run"], {})
        numbers = [number(row[key]) if key in row else "" for key in ("params", "tokens", "learning_rate", "loss")]
        rows.append((status["run"], status["state"], *numbers, status["note"]))
    return table(("run", "state", "parameters", "tokens", "learning rate", "held-out loss", ""), rows)
