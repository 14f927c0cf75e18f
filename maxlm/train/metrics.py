"""What a run shows of itself: TensorBoard scalars, metrics.jsonl for the report, and a line on the terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from maxlm.models.cost import Flops
from maxlm.monitor.clock import Clock
from maxlm.monitor.lines import LineFile
from maxlm.monitor.tracking import Tracker
from maxlm.paths import PathLike, as_path, is_local


class MetricsWriter:
    """Scalars by step into RUN/metrics/: event files for TensorBoard, and one JSON object a line.

    The lines are also the run's account of its time, which maxlm/report/goodput.py sums up: each says when it was
    written, and what went by since the line before beside training itself.
    """

    def __init__(
        self, workdir: PathLike, first_step: int, clock: Clock, tracker: Tracker | None = None, writes: bool = True
    ):
        """`writes`: False for processes beside the first."""
        self._writes, self._clock, self._tracker = writes, clock, tracker
        if not writes:
            return
        folder = as_path(workdir) / "metrics"
        # A resumed run repeats the steps after `first_step`, which a kill or a rollback undid: TensorBoard drops the
        # old ones by purge_step, the report by the line that begins here.
        # Its event files can't be written into a bucket.
        local = is_local(folder)
        self._events = SummaryWriter(str(folder), purge_step=first_step + 1, flush_secs=10) if local else None
        self._lines = LineFile(folder / "metrics.jsonl")
        self._lines.write({"begins_after": first_step, **self._time(rest="start")})

    def write(self, step: int, scalars: Mapping[str, float], ends_window: bool = True) -> None:
        """`ends_window`: whether these are figures of all steps since the last such line, up to `step`."""
        if not self._writes:
            return
        if self._events is not None:
            for name, value in scalars.items():
                if math.isfinite(value):  # a curve has no place for what is not
                    self._events.add_scalar(name, value, step)
        self._lines.write({"step": step, **scalars, **(self._time() if ends_window else {})})
        if self._tracker is not None:
            self._tracker.write(step, scalars)

    def close(self) -> None:
        if not self._writes:
            return
        self._lines.write({"ends": True, **self._time()})
        if self._events is not None:
            self._events.close()
        self._lines.close()
        if self._tracker is not None:
            self._tracker.close()

    def _time(self, rest: str | None = None) -> dict[str, Any]:
        return {"time": round(self._clock.now(), 6), "spent": self._clock.take(rest)}


@dataclass
class Window:
    """Sums over the steps since the last line."""

    domains: Sequence[str]
    devices: int = 1
    steps: int = 0
    applied: int = 0  # steps; the others, not finite or beyond a limit of config.watch, count in no mean
    loss: float = 0.0
    grad_norm: float = 0.0
    learning_rate: float = 0.0
    seconds: float = 0.0  # of the steps, without what they stood still for: compilation, checkpoints, evaluation
    tokens: int = 0  # places in the batches, padding included, as in the FLOPs
    flops: np.ndarray = field(init=False)  # of the model, by the conventions of maxlm/models/cost.py
    domain_nll: np.ndarray = field(init=False)
    domain_tokens: np.ndarray = field(init=False)
    figures: dict[str, np.ndarray] = field(default_factory=dict)  # sums, and what they are to be divided by
    norms: dict[str, float] = field(default_factory=dict)  # by layer, of the last step that has them

    def __post_init__(self) -> None:
        self.flops = np.zeros(len(Flops._fields))
        self.domain_nll = np.zeros(len(self.domains))
        self.domain_tokens = np.zeros(len(self.domains))

    def add(self, metrics: Mapping[str, Any], tokens: int, flops: Flops) -> None:
        """Adds one step's metrics, on the host and with its seconds, and the tokens and the FLOPs that it took."""
        self.steps += 1
        self.seconds += metrics["step_s"]
        self.tokens += tokens
        self.flops += flops
        self.learning_rate = float(metrics["learning_rate"])
        if metrics["skipped"]:
            return
        self.applied += 1
        self.loss += float(metrics["loss"])
        self.grad_norm += float(metrics["grad_norm"])
        self.domain_nll += metrics["domain_nll"]
        self.domain_tokens += metrics["domain_tokens"]
        for name, sums in metrics.get("figures", {}).items():
            self.figures[name] = self.figures.get(name, 0) + np.asarray(sums, np.float64)

    def scalars(self, peak: float, wait_share: float) -> dict[str, float]:
        """Means over the window; `peak`: FLOP/s of all devices."""
        used = Flops(*(self.flops / self.seconds / peak))
        values = {
            "loss": self.loss / self.applied if self.applied else math.nan,
            "grad_norm": self.grad_norm / self.applied if self.applied else math.nan,
            "learning_rate": self.learning_rate,
            "tokens_per_s": self.tokens / self.seconds,
            "tokens_per_s_device": self.tokens / self.seconds / self.devices,
            "mfu": used.causal,
            "mfu_square": used.square,
            "mfu_no_attention": used.no_attention,
            "data_wait_share": wait_share,
        }
        if self.applied < self.steps:
            values["skipped"] = self.steps - self.applied
        for name, nll, tokens in zip(self.domains, self.domain_nll, self.domain_tokens, strict=True):
            if tokens:
                values[f"loss/{name}"] = nll / tokens
        values |= {name: float(total / count) for name, (total, count) in self.figures.items() if count}
        return values | self.norms


class ProgressLine:
    """One line that moves on a terminal; plain lines elsewhere."""

    def __init__(self, console: Console, total_steps: int, done: int):
        self._console, self._total = console, total_steps
        self._bar = Progress(
            BarColumn(20), TextColumn("{task.description}"), TimeRemainingColumn(), console=console, transient=True
        )
        self._task = self._bar.add_task("starting", total=total_steps, completed=done)
        if console.is_terminal:
            self._bar.start()

    def update(self, step: int, block: int, scalars: Mapping[str, float]) -> None:
        domains = " ".join(f"{k[5:]} {v:.3f}" for k, v in scalars.items() if k.startswith("loss/"))
        text = (
            f"step {step}/{self._total} · block {block} · loss {scalars['loss']:.4f} ({domains}) · "
            f"lr {scalars['learning_rate']:.2e} · grad {scalars['grad_norm']:.2f} · "
            f"{scalars['tokens_per_s']:,.0f} tokens/s · MFU {scalars['mfu']:.1%} · "
            f"data wait {scalars['data_wait_share']:.2%}"
        )
        self._bar.update(self._task, completed=step, description=text)
        if not self._console.is_terminal:
            self._console.print(text, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        if self._console.is_terminal:
            self._bar.stop()
