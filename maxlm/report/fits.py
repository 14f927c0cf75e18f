"""A fit, as `maxlm fit` writes it, as a part of a page: its constants, how well it foretells, and its curves."""

import html
import itertools
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from maxlm.page import document, table
from maxlm.report.plots import COLORS, svg


def page(fit: dict[str, Any]) -> str:
    """The whole page about one fit, HTML text."""
    title = f"{fit['kind']} fitted to {fit['points']} runs"
    return document(title, [f"<h1>{html.escape(title)}</h1>", section(fit)])


def section(fit: dict[str, Any]) -> str:
    """HTML about one fit."""
    parts = [f"<p>{html.escape(fit['form'])}</p><p class='note'>{fit['points']} runs of {html.escape(fit['data'])}</p>"]
    rows = [
        (name, number(value), *_ends(fit["intervals"].get(name))) for name, value in fit["constants"].items()
    ]  # fmt: skip
    parts.append(table(("constant", "value", "95 % from", "to"), rows))
    parts += [f"<p class='alarm'>{html.escape(text)}</p>" for text in fit.get("warnings", ())]
    if fit.get("compared"):
        parts.append(_comparisons(fit))
    if fit.get("predicted_gain"):
        gain = fit["predicted_gain"]
        low, high = gain["interval"]
        parts.append(
            f"<p>Recommended instead of {fit['compared_with']} ({html.escape(_percents(fit['natural']))}): "
            f"{number(gain['value'])} nats per token less, by the law (95 %: {number(low)} to {number(high)}).</p>"
        )
    parts.append(_held_out(fit["held_out"]))
    parts += [f"<h3>{html.escape(one['title'])}</h3>{draw(one)}" for one in fit["figures"]]
    return "".join(parts)


def _comparisons(fit: dict[str, Any]) -> str:
    rows = [
        (one["name"], f"{one['difference']:+.4f}", *map(number, one["interval"]), one["test"], f"{one['p_holm']:.3f}",
         "yes" if one["significant"] else "no")
        for one in fit["compared"]
    ]  # fmt: skip
    header = ("against " + fit["baseline"], "difference", "95 % from", "to", "test", "p (t, Holm)", "significant")
    return table(header, rows)


def _held_out(found: dict[str, Any] | None) -> str:
    if found is None:
        return "<p class='alarm'>Nothing was held out: how well this foretells is not known.</p>"
    rows = [[number(cell) if isinstance(cell, float) else cell for cell in row] for row in found["rows"]]
    return (
        f"<p>Held out: {found['points']} runs, foretold with {found['mean_error']:.2%} error on average, "
        f"{found['largest_error']:.2%} at the most.</p>" + table(found["columns"], rows)
    )


def _ends(interval: Any) -> tuple[str, str]:
    return ("–", "–") if interval is None else (number(interval[0]), number(interval[1]))


def _percents(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def number(value: float) -> str:
    """Four digits, and no exponent where none is needed."""
    return f"{value:,.4g}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3e}"


def draw(one: dict[str, Any]) -> str:
    """A figure of maxlm/scaling/figures.py as SVG."""

    def fill(axes: Axes) -> None:
        axes.set_xlabel(one["x"])
        axes.set_ylabel(one["y"])
        names = list(dict.fromkeys(s["name"] for s in itertools.chain(one["dots"], one["lines"], one["bands"])))
        color = {name: COLORS[i % len(COLORS)] for i, name in enumerate(names)}
        for s in one["bands"]:
            axes.fill_between(s["x"], s["low"], s["high"], color=color[s["name"]], alpha=0.15, linewidth=0)
        labelled = set()
        for s in one["dots"]:
            axes.plot(s["x"], s["y"], "o", markersize=4, color=color[s["name"]], label=s["name"])
            labelled.add(s["name"])
        for s in one["lines"]:
            label = None if s["name"] in labelled else s["name"]
            axes.plot(s["x"], s["y"], linewidth=1.2, color=color[s["name"]], label=label)
        if 1 < len(names) <= 12:
            axes.legend(frameon=False, fontsize=8, ncols=2)
        if one["log_x"]:
            axes.set_xscale("log")
            _label(axes.xaxis)
        if one["log_y"]:
            axes.set_yscale("log")
            _label(axes.yaxis)

    return svg(fill, height=3.6)


def _label(axis: Axis) -> None:
    """Plain numbers along a logarithmic axis, "2e6": matplotlib's own are formulas, which figures here do not set."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}".replace("e+0", "e").replace("e+", "e")))
    axis.set_minor_formatter(NullFormatter())
