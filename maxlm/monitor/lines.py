"""A file of JSON objects, one a line, that only grows; on a disk or in a bucket."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from maxlm.paths import PathLike, as_path, is_local

_REWRITE_S = 30.0  # objects in a bucket can't be appended to, and some buckets take one write a second


class LineFile:
    """Lines are on a disk at once, in a bucket after half a minute at most or when it is closed."""

    def __init__(self, path: PathLike):
        self.path = as_path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab+", buffering=0) if is_local(self.path) else None
        self._whole, self._changed, self._written_at = b"", False, time.monotonic()
        if self._file is None and self.path.exists():
            self._whole = self.path.read_bytes()
        if self._ends_mid_line():  # a crash cut the last line short
            self._add(b"\n")

    def write(self, values: Mapping[str, Any]) -> None:
        self._add((json.dumps(values) + "\n").encode())

    def _add(self, raw: bytes) -> None:
        if self._file is not None:
            self._file.write(raw)
            return
        self._whole, self._changed = self._whole + raw, True
        if time.monotonic() >= self._written_at + _REWRITE_S:
            self._flush()

    def _ends_mid_line(self) -> bool:
        if self._file is None:
            return bool(self._whole) and not self._whole.endswith(b"\n")
        return (
            self._file.seek(0, os.SEEK_END) > 0
            and self._file.seek(-1, os.SEEK_END) >= 0
            and self._file.read(1) != b"\n"
        )

    def _flush(self) -> None:
        if self._changed:
            self.path.write_bytes(self._whole)
        self._changed, self._written_at = False, time.monotonic()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        else:
            self._flush()
