"""Append-only events, one JSON object a line: what happened to a run (RUN/journal.jsonl) or to a data set.

Lines are only ever added. A line that a crash cut short is set apart and left out when read; all others count, and
have the fields that whoever reads them goes by.
"""

import datetime
import json
import os
from collections.abc import Sequence
from typing import Any

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, is_local, parse_json, read_whole

_STEPS, _REACHED = ("step",), ("block", "step")
# event -> fields that it always has; events of names that a newer program writes are passed on as they are
_NEEDED: dict[str, tuple[str, ...]] = {
    "run_started": _STEPS, "resumed": _STEPS, "stage_started": ("stage", "step"),
    "block_started": ("block",), "block_finished": _REACHED, "checkpoint": _STEPS, "verified": _STEPS,
    "evaluated": _STEPS, "rollback": ("to_block", "to_step", "from_step", "skipped"),
    "rollback_undone": (), "branched": ("block", "step", "blocks_done", "stage", "from_step"),
    "imported": ("max_length",), "resized": _STEPS, "alarm": ("step", "detector", "policy"),
    "stuck": ("doing", "silent_s"),
    "redraw": ("from_block",), "skip": ("block",), "unskip": ("block",),
}  # fmt: skip
_MOST = 1 << 62  # of any count
_WHOLE = frozenset(
    "step total_steps to_step from_step block to_block from_block blocks_done batch finished_block max_length".split()
)
_NUMBERS = frozenset(["lr_scale", "silent_s"])
_WORDS = frozenset(["stage", "detector", "policy", "doing", "reader"])


def without_undone(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A run's events, but for rollbacks that were themselves undone and what came between."""
    kept: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "rollback_undone":
            last = max((i for i, before in enumerate(kept) if before["event"] == "rollback"), default=len(kept))
            kept = kept[:last]
        else:
            kept.append(event)
    return kept


class Journal:
    """Events of one file, in the order in which they were written."""

    def __init__(self, path: PathLike, writes: bool = True):
        """`writes`: False for processes beside the first, which append nothing."""
        self.path, self.writes = as_path(path), writes

    def append(self, event: str, **fields: Any) -> dict[str, Any]:
        """Adds one event and has it on the disk before returning; returns it."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = {"event": event, "time": now, **fields}
        if not self.writes:
            return line
        raw = json.dumps(line, ensure_ascii=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if is_local(self.path):
            self._append_local(raw.encode())
        else:  # object stores cannot append: write the whole object anew
            before = self.path.read_text() if self.path.exists() else ""
            self.path.write_text(before + raw)
        return line

    def _append_local(self, raw: bytes) -> None:
        with open(self.path, "ab+") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a crash cut the last line short: close it, so that ours stands alone
                    raw = b"\n" + raw
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[dict[str, Any]]:
        """All events so far. Lines cut short by a crash are left out."""
        if not self.path.exists():
            return []
        events = []
        # Bytes: a line may have been cut inside of a character.
        for number, line in enumerate(read_whole(self.path, "a journal", None).split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                event = parse_json(line, self.path, f"line {number} of a journal")
            except DataError:
                continue
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise DataError(f"{self.path}, line {number}: not an event of a journal: {str(event)[:80]}")
            if wrong := _wrong_field(event):
                raise DataError(f"{self.path}, line {number}: {event['event']!r} with {wrong}; mend or remove the line")
            events.append(event)
        return events


def _wrong_field(event: dict[str, Any]) -> str:
    """What is wrong with an event's fields, in words; "" where nothing is."""
    for name in ("time", *_NEEDED.get(event["event"], ())):
        if name not in event:
            return f"no {name!r}"
    for name, value in event.items() if event["event"] in _NEEDED else [("time", event["time"])]:
        if not _fits(name, value):
            return f"{name!r} {str(value)[:80]!r}"
    return ""


def _fits(name: str, value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _WHOLE:
        return number and isinstance(value, int) and -_MOST <= value <= _MOST
    if name in _NUMBERS or name.startswith("validation/"):  # infinite, and no number, are what a run may come to
        return number and (isinstance(value, float) or -_MOST <= value <= _MOST)
    if name == "skipped":
        return isinstance(value, list) and all(_fits("block", block) for block in value)
    if name == "time":
        return isinstance(value, str) and _is_time(value)
    return isinstance(value, str) or name not in _WORDS


def _is_time(text: str) -> bool:
    try:
        datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return False
    return True
