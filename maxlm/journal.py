"""Append-only events, one JSON object a line: what happened to a run (RUN/journal.jsonl) or to a data set.

Lines are only ever added. A line that a crash cut short is set apart and left out when read; all others count.
"""

import datetime
import json
import os
from collections.abc import Sequence
from typing import Any

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, is_local


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
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise DataError(f"{self.path}, line {number}: not an event of a journal: {str(event)[:80]}")
            events.append(event)
        return events
