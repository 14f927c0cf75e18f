"""What a run shows of itself: TensorBoard scalars, metrics.jsonl for the report, and a line on the terminal."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from maxlm.errors import UserError
from maxlm.paths import PathLike, as_path


class MetricsWriter:
    """Scalars by step into RUN/metrics/: event files for TensorBoard, and one JSON object a line."""

    def __init__(self, workdir: PathLike, first_step: int, writes: bool = True):
        """`writes`: False for processes beside the first."""
        self._writes = writes
        if not writes:
            return
        folder = as_path(workdir) / "metrics"
        folder.mkdir(parents=True, exist_ok=True)
        # A resumed run repeats the steps after `first_step`, which a kill or a rollback undid: TensorBoard drops the
        # old ones by purge_step, the report by the line that begins here.
        self._events = SummaryWriter(str(folder), purge_step=first_step + 1, flush_secs=10)
        self._lines = open(folder / "metrics.jsonl", "a", buffering=1)
        if _ends_mid_line(folder / "metrics.jsonl"):
            self._lines.write("\n")
        self._lines.write(json.dumps({"begins_after": first_step}) + "\n")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if not self._writes:
            return
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)
        self._lines.write(json.dumps({"step": step, **scalars}) + "\n")

    def close(self) -> None:
        if not self._writes:
            return
        self._events.close()
        self._lines.close()


def _ends_mid_line(path: PathLike) -> bool:
    """Whether a crash cut the file's last line short."""
    with open(path, "rb") as file:
        return file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"


@dataclass
class Window:
    """Sums over the steps since the last line."""

    domains: Sequence[str]
    steps: int = 0
    loss: float = 0.0
    grad_norm: float = 0.0
    learning_rate: float = 0.0
    tokens: int = 0  # places in the batches, padding included, as in the FLOPs
    flops: float = 0  # of the model
    domain_nll: np.ndarray = field(init=False)
    domain_tokens: np.ndarray = field(init=False)
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.domain_nll = np.zeros(len(self.domains))
        self.domain_tokens = np.zeros(len(self.domains))

    def add(self, step: int, metrics: Mapping[str, np.ndarray], tokens: int, flops: float) -> None:
        """Adds one step's metrics, already on the host, with the tokens and the FLOPs that it took.

        Raises:
          UserError: the loss or the gradient is not finite; nothing after it would be worth having.
        """
        loss, grad_norm = float(metrics["loss"]), float(metrics["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise UserError(
                f"step {step}: loss {loss}, gradient norm {grad_norm}: the run has diverged and stops before the next "
                "checkpoint; lower config.optimizer.learning_rate, or roll back a block (maxlm rollback … --skip)"
            )
        self.steps += 1
        self.tokens += tokens
        self.flops += flops
        self.loss += loss
        self.grad_norm += grad_norm
        self.learning_rate = float(metrics["learning_rate"])
        self.domain_nll += metrics["domain_nll"]
        self.domain_tokens += metrics["domain_tokens"]

    def scalars(self, peak: float, wait_share: float) -> dict[str, float]:
        """Means over the window; `peak`: FLOP/s of all devices."""
        seconds = time.perf_counter() - self.started
        values = {
            "loss": self.loss / self.steps,
            "grad_norm": self.grad_norm / self.steps,
            "learning_rate": self.learning_rate,
            "tokens_per_s": self.tokens / seconds,
            "mfu": self.flops / seconds / peak,
            "data_wait_share": wait_share,
        }
        for name, nll, tokens in zip(self.domains, self.domain_nll, self.domain_tokens, strict=True):
            if tokens:
                values[f"loss/{name}"] = nll / tokens
        return values


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
