"""A sweep as one self-contained page that a team can decide from."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

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


def page(
    name: str,
    *,
    statuses: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any]],
    records: Sequence[RunRecord],
    fits: Mapping[str, dict[str, Any]],
    reasons: Mapping[str, str],
    recommended: Sequence[tuple[str, str]],
) -> str:
    """The whole page, HTML text.

    Args:
      statuses: run, state and note of every job.
      results: rows of results.jsonl.
      records: folders of the runs that are done, for their curves.
      fits, reasons: by kind, what could be fitted and why the others could not.
    """
    title = f"maxlm sweep {name}"
    body = [f"<h1>{html.escape(title)}</h1>", _summary(statuses, results)]
    body += ["<h2>What to do</h2>", _recommended(recommended)]
    if records:
        body += ["<h2>Curves</h2>", curves(records)]
    for kind, fit in fits.items():
        body += [f"<h2>{_TITLES[kind]}</h2>", section(fit)]
    if reasons:
        rows = [(_TITLES[kind], reason) for kind, reason in reasons.items()]
        body += ["<h2>Not fitted</h2>", table(("what", "why"), rows)]
    body += ["<h2>Runs</h2>", _runs(statuses, results)]
    return document(title, body)


def _summary(statuses: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> str:
    states = [status["state"] for status in statuses]
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


def _runs(statuses: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> str:
    found, rows = {row["run"]: row for row in results}, []
    for status in statuses:
        row = found.get(status["run"], {})
        numbers = [number(row[key]) if key in row else "" for key in ("params", "tokens", "learning_rate", "loss")]
        rows.append((status["run"], status["state"], *numbers, status["note"]))
    return table(("run", "state", "parameters", "tokens", "learning rate", "held-out loss", ""), rows)
