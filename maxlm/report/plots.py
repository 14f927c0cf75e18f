"""Figures of a report, each as SVG text. No display is needed and nothing is read from the network."""

import io
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "maxlm"  # the same figures give the same bytes
matplotlib.rcParams["text.parse_math"] = False  # a domain's name may hold a dollar sign

from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from maxlm.report.collect import RunRecord  # noqa: E402

COLORS = ["#1f6f8b", "#c8553d", "#588157", "#8f6bb3", "#b08900", "#5c677d", "#a23b72", "#2a9d8f"]
_UNDONE = "#bbbbbb"


def loss_curves(record: RunRecord) -> str:
    """Training loss per domain (lines), validation loss (dots), stretches that were undone (grey)."""
    return svg(lambda axes: draw_losses(axes, record))


def draw_losses(axes: Axes, record: RunRecord) -> None:
    for stretch in record.undone:
        axes.plot(_steps(stretch), [line["loss"] for line in stretch], color=_UNDONE, linewidth=1)
    axes.plot(_steps(record.metrics), [m["loss"] for m in record.metrics], color="black", linewidth=1.8, label="all")
    for color, domain in zip(_cycle(), domains_of(record), strict=False):
        key = f"loss/{domain}"
        lines = [line for line in record.metrics if key in line]
        axes.plot(_steps(lines), [line[key] for line in lines], color=color, linewidth=1, label=domain)
        dots = [line for line in record.validation if f"validation/{key}" in line]
        axes.plot(_steps(dots), [line[f"validation/{key}"] for line in dots], "o", color=color, markersize=4)
    _mark_rollbacks(axes, record)
    axes.set_ylabel("loss, nats per token")
    axes.legend(frameon=False, ncols=4, title="lines: training · dots: held-out · grey: rolled back", title_fontsize=8)


def loss_by_position(record: RunRecord) -> str:
    """Held-out loss by how much of its document a token has before it, first and last; "": it was not measured."""
    prefix = "validation/position/"
    lines = [line for line in record.validation if any(key.startswith(prefix) for key in line)]
    if not lines:
        return ""

    def draw(axes: Axes) -> None:
        for color, line in zip((_UNDONE, COLORS[0]), (lines[0], lines[-1]), strict=True):
            found = sorted(
                (int(key.removeprefix(prefix)), value) for key, value in line.items() if key.startswith(prefix)
            )
            axes.plot(*zip(*found, strict=True), "o-", color=color, markersize=4, label=f"step {line['step']:.0f}")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))  # matplotlib's own are formulas
        axes.set_xlabel("tokens of the document before it (this many and more)")
        axes.set_ylabel("held-out loss")
        axes.legend(frameon=False)

    return svg(draw, height=2.6)


def learning_rate(record: RunRecord) -> str:
    return svg(lambda axes: _line(axes, record, "learning_rate", "learning rate"), height=2.2)


def throughput(record: RunRecord) -> str:
    return svg(lambda axes: _line(axes, record, "tokens_per_s", "tokens per second", zero=True), height=2.2)


def utilisation(record: RunRecord) -> str:
    return svg(lambda axes: _line(axes, record, "mfu", "model FLOPs utilisation", zero=True), height=2.2)


def step_times(record: RunRecord) -> str:
    """Percentiles of the steps of each line, and the slowest."""

    def draw(axes: Axes) -> None:
        lines = [line for line in record.metrics if "step_s/p50" in line]
        for color, name in zip(_cycle(), ("p50", "p90", "p99", "max"), strict=False):
            axes.plot(
                _steps(lines),
                [m.get(f"step_s/{name}", float("nan")) for m in lines],
                color=color,
                linewidth=1,
                label=name,
            )
        axes.set_ylabel("seconds a step")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, ncols=4)

    return svg(draw, height=2.2)


def layer_norms(record: RunRecord, kind: str) -> str:
    """Norms of gradients (`kind` "grad") or parameters ("param") by layer and step, as colours; "": there are none."""
    prefix = f"{kind}_norm/layers/"
    lines = [line for line in record.metrics if any(key.startswith(prefix) for key in line)]
    keys = sorted({key for line in lines for key in line if key.startswith(prefix)})
    if not lines:
        return ""

    def draw(axes: Axes) -> None:
        values = np.array([[line.get(key, np.nan) for line in lines] for key in keys])
        with np.errstate(divide="ignore", invalid="ignore"):
            image = axes.imshow(
                np.log10(values), aspect="auto", origin="lower", interpolation="nearest", cmap="viridis",
                extent=(lines[0]["step"], lines[-1]["step"] + 1, -0.5, len(keys) - 0.5),
            )  # fmt: skip
        axes.set_ylabel("layer")
        bar = axes.figure.colorbar(image, ax=axes)
        bar.set_label("log10 of the norm")

    return svg(draw, height=1.6 + 0.06 * min(len(keys), 60))


def gradient_norm(record: RunRecord) -> str:
    return svg(lambda axes: _line(axes, record, "grad_norm", "gradient norm", zero=True), height=2.2)


def composition(before: dict[str, float], after: dict[str, float], unit: str) -> str:
    """Shares of the domains before and after cleaning, as two bars."""

    def draw(axes: Axes) -> None:
        for row, parts in enumerate((after, before)):
            left, total = 0.0, sum(parts.values()) or 1.0
            for color, domain in zip(_cycle(), sorted(before), strict=False):
                share = parts.get(domain, 0) / total
                axes.barh(row, share, left=left, color=color, label=domain if row == 0 else None)
                if share > 0.06:
                    text = f"{domain} {share:.0%}"
                    axes.text(left + share / 2, row, text, ha="center", va="center", color="white", fontsize=9)
                left += share
            axes.text(1.01, row, f"{total:,.0f} {unit}", va="center", fontsize=9)
        axes.set_yticks([0, 1], ["after", "before"])
        axes.set_xlim(0, 1)
        axes.set_xticks([])
        axes.set_xlabel("")
        for spine in axes.spines.values():
            spine.set_visible(False)

    return svg(draw, height=1.6)


def domains_of(record: RunRecord) -> list[str]:
    """Domains that have a training loss."""
    return sorted({key[5:] for line in record.metrics for key in line if key.startswith("loss/")})


def _line(axes: Axes, record: RunRecord, key: str, label: str, zero: bool = False) -> None:
    axes.plot(
        _steps(record.metrics), [m.get(key, float("nan")) for m in record.metrics], color=COLORS[0], linewidth=1.2
    )
    _mark_rollbacks(axes, record)
    axes.set_ylabel(label)
    if zero:
        axes.set_ylim(bottom=0)


def _mark_rollbacks(axes: Axes, record: RunRecord) -> None:
    for event in record.rollbacks:
        axes.axvline(event["to_step"], color=COLORS[1], linestyle="--", linewidth=1)
        axes.annotate(
            f"rolled back from {event.get('from_step', 'a later step')}",
            (event["to_step"], 0.98),
            xycoords=("data", "axes fraction"),
            rotation=90, va="top", ha="right", fontsize=7, color=COLORS[1],
        )  # fmt: skip


def _steps(lines: Sequence[dict[str, float]]) -> list[float]:
    return [line["step"] for line in lines]


def _cycle() -> list[str]:
    return COLORS * 32


def svg(draw: Callable[[Axes], None], height: float = 4.2) -> str:
    """A figure as SVG text; `draw` fills its axes."""
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step")
    draw(axes)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def save_png(record: RunRecord, path: str) -> None:
    """The loss curves as a picture file."""
    figure = Figure(figsize=(9, 4.2), layout="constrained", dpi=130)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("step")
    draw_losses(axes, record)
    figure.savefig(path)
