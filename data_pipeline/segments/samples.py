"""What a corpus-wide step cut, for people to look at: units drawn by a seed, and the most frequent ones.

A partition keeps those of its own that the whole corpus could choose, so that the choice is made of small tables.
"""

import heapq
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from data_pipeline import engine
from maxlm.paths import PathLike, write_atomic

CUT = pa.schema(
    [("key", pa.uint64()), ("draw", pa.uint64()), ("documents", pa.int64()), ("id", pa.string()), ("text", pa.string())]
)
_MULTIPLIER, _BITS = 0x9E3779B97F4A7C15, (1 << 64) - 1
_SHOWN_CHARACTERS = 2000


class Samples:
    """The units of one partition: `count` with the least draws, which are hashes, and `count` with most documents."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._units: dict[int, dict[str, Any]] = {}

    def add(self, key: int, text: str, documents: int, document_id: str) -> None:
        """Notes a cut. Of equal units the one in the document with the least id is shown."""
        known = self._units.get(key)
        if known is None or document_id < known["id"]:
            draw = _mix(key ^ _mix(self._seed + 1))
            row = {
                "key": key,
                "draw": draw,
                "documents": documents,
                "id": document_id,
                "text": text[:_SHOWN_CHARACTERS],
            }
            self._units[key] = row
            if len(self._units) > 8 * self._count + 1000:
                self._units = {row["key"]: row for row in choose(list(self._units.values()), self._count)}

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(choose(list(self._units.values()), self._count), schema=CUT)


def _mix(value: int) -> int:
    value = (value ^ value >> 31) * _MULTIPLIER & _BITS
    return (value ^ value >> 29) * _MULTIPLIER & _BITS


def choose(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The `count` with the least draws and the `count` with most documents, ordered by draw."""
    drawn = heapq.nsmallest(count, rows, key=lambda row: (row["draw"], row["key"]))
    frequent = heapq.nsmallest(count, rows, key=lambda row: (-row["documents"], row["draw"], row["key"]))
    chosen = {row["key"]: row for row in (*drawn, *frequent)}
    return sorted(chosen.values(), key=lambda row: (row["draw"], row["key"]))


def write(path: PathLike, partitions: Sequence[PathLike], count: int) -> None:
    """Writes the corpus's sample from its partitions' ones: a JSON object a line, the most frequent units first."""
    units: dict[int, dict[str, Any]] = {}
    for partition in partitions:
        for row in engine.read_partition(partition).to_pylist():
            if row["key"] not in units or row["id"] < units[row["key"]]["id"]:
                units[row["key"]] = row
        units = {row["key"]: row for row in choose(list(units.values()), count)}
    ordered = sorted(units.values(), key=lambda row: (-row["documents"], row["draw"]))
    lines = [{name: row[name] for name in ("documents", "text", "id")} for row in ordered]
    write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
