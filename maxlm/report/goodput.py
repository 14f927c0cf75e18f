"""Goodput: the share of a run's life that went into steps which still count, and what took the rest.

Computed from RUN/metrics/metrics.jsonl, where every line says when it was written and what its process did since the
line before beside training, and from the journal, which knows of rollbacks and of a little more life before a kill.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maxlm.journal import Journal
from maxlm.paths import PathLike, as_path
from maxlm.report.collect import read_lines

# Where time goes, and in which words; in the order in which it is told.
WORDS = {
    "productive": "steps that count",
    "undone": "steps that a kill or a rollback undid",
    "unfinished": "steps that were begun and never logged",
    "start": "starting up",
    "restore": "restoring or initialising",
    "compile": "compiling",
    "data_wait": "waiting for data",
    "checkpoint": "standing still for checkpoints",
    "evaluation": "evaluating",
    "stopped": "not running, between a stop and the next start",
}


@dataclass
class Goodput:
    """Seconds of a run's life by kind; a key of WORDS, or a kind that a newer program counts."""

    starts: int = 0
    spent_s: dict[str, float] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        return sum(self.spent_s.values())

    @property
    def share(self) -> float:
        """Of wall time that went into steps that count, [0, 1]."""
        return self.spent_s.get("productive", 0.0) / self.wall_s if self.wall_s else 0.0

    def rows(self) -> list[tuple[str, float, float]]:
        """(words, seconds, share), what took nothing left out."""
        kinds = [*WORDS, *sorted(self.spent_s.keys() - WORDS.keys())]
        found = [(WORDS.get(kind, kind), self.spent_s.get(kind, 0.0)) for kind in kinds]
        return [(words, seconds, seconds / self.wall_s) for words, seconds in found if seconds > 0]

    def sentence(self, most: int = 4) -> str:
        """One line: the share, and the largest of what took the rest."""
        rest = sorted(self.rows(), key=lambda row: -row[1])
        parts = [f"{words} {share:.1%}" for words, _, share in rest if words != WORDS["productive"]][:most]
        starts = f", {self.starts} starts" if self.starts > 1 else ""
        return f"goodput {self.share:.1%} of {self.wall_s:,.1f} s{starts}" + (f"; {', '.join(parts)}" if parts else "")

    def add(self, kind: str, seconds: float) -> None:
        self.spent_s[kind] = self.spent_s.get(kind, 0.0) + seconds


@dataclass
class _Steps:
    """Productive seconds of the steps ``first + 1 … last``."""

    first: int
    last: int
    seconds: float


def goodput_of(workdir: PathLike) -> Goodput | None:
    """Of the run in `workdir`, over all of its starts; None if its metrics do not tell."""
    workdir = as_path(workdir)
    return goodput(read_lines(workdir / "metrics" / "metrics.jsonl"), Journal(workdir / "journal.jsonl").read())


def goodput(lines: Sequence[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> Goodput | None:
    """From the lines of metrics.jsonl and the events of the journal, both in the order in which they were written.

    Times of different processes are compared by their clocks; where those run backwards, nothing is counted.
    """
    lines = [line for line in lines if "time" in line and "spent" in line]  # validation has no time of its own
    if not lines or "begins_after" not in lines[0]:
        return None
    events = list(events)
    signs_of_life = [event["time"] for event in events if event["event"] != "rollback"]  # which a person types
    moments = sorted(datetime.datetime.fromisoformat(time).timestamp() for time in signs_of_life)
    total, standing = Goodput(), list[_Steps]()
    before, step, ended = lines[0]["time"], 0, True  # the line before: when, after which step, whether it was the last
    for line in lines:
        spent, now = line["spent"], line["time"]
        for kind, seconds in spent.items():
            total.add(kind, seconds)
        if "begins_after" in line:
            began = now - sum(spent.values())
            if total.starts:
                last = before if ended else max([before, *(m for m in moments if before < m < began)])
                total.add("unfinished", max(last - before, 0.0))
                total.add("stopped", max(began - last, 0.0))
            total.starts += 1
            step = line["begins_after"]
            standing = _undo(total, standing, step)
        else:
            rest = max(now - before - sum(spent.values()), 0.0)
            if "ends" in line:
                total.add("unfinished", rest)
            elif "step" in line:
                standing.append(_Steps(step, line["step"], rest))
                step = line["step"]
        before, ended = now, "ends" in line
    if not ended:  # killed, or at work
        total.add("unfinished", max([0.0, *(moment - before for moment in moments if moment > before)]))
    back = [event for event in events if event["event"] in ("run_started", "resumed", "rollback")]
    if back and back[-1]["event"] == "rollback":  # and not started again since
        standing = _undo(total, standing, back[-1]["to_step"])
    total.add("productive", sum(steps.seconds for steps in standing))
    return total


def _undo(total: Goodput, standing: Sequence[_Steps], step: int) -> list[_Steps]:
    """What stands after going back to `step`; of steps that one line sums up, each is taken to have lasted alike."""
    kept = []
    for steps in standing:
        share = min(max((step - steps.first) / max(steps.last - steps.first, 1), 0.0), 1.0)
        total.add("undone", steps.seconds * (1 - share))
        if share > 0:
            kept.append(_Steps(steps.first, min(steps.last, step), steps.seconds * share))
    return kept
