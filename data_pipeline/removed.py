"""Looking at what a corpus lost: samples of removed documents by reason, and of input that never became one."""

import hashlib
import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from data_pipeline import engine
from data_pipeline.document import QUARANTINED, REMOVED_DOCUMENTS
from maxlm.errors import DataError, did_you_mean
from maxlm.paths import PathLike, as_path

_CONTEXT = 150  # characters shown on either side of an offending passage
_PASSAGE = 300  # and of the passage itself


def removed_samples(dataset: PathLike, count: int, reason: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """Up to `count` removed documents of each reason, or of `reason` alone, grouped by operator and reason.

    The sample is that of the smallest digests of id and `seed`: random, and the same every time.

    Raises:
      DataError: dedup hasn't been run, or no document was removed for `reason` (names the reasons there are).
    """
    # The greatest digest is dropped first, and nothing but the sample is ever held.
    heaps: dict[tuple[str, str], list[tuple[int, int, dict[str, Any]]]] = {}
    for number, row in enumerate(_rows(dataset, REMOVED_DOCUMENTS, "dedup")):
        heap = heaps.setdefault((row["operator"], row["reason"]), [])
        if reason in ("", row["reason"]):
            item = (-_draw(row["id"], seed), number, row)
            heapq.heappush(heap, item) if len(heap) < count else heapq.heappushpop(heap, item)
    chosen = {key: heap for key, heap in heaps.items() if reason in ("", key[1])}
    if reason and not chosen:
        hint = did_you_mean(reason, {key[1] for key in heaps})
        raise DataError(f"--reason: no document was removed for {reason!r}{hint}")
    return [item[2] for key in sorted(chosen) for item in sorted(chosen[key], reverse=True)]


def _draw(document_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{document_id}".encode(), digest_size=8).digest())


def passage(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The offending passage of a removed document, between what stands before and after it.

    Where all of the text offends, or no passage was named, the text's beginning comes first and the rest is empty.
    """
    text, start, end = row["text"], row["start"] or 0, row["end"] or 0
    if start == end:
        return _cut(text, 2 * _CONTEXT), "", ""
    before, after = text[max(0, start - _CONTEXT) : start], text[end : end + _CONTEXT]
    before = ("…" if start > _CONTEXT else "") + before
    return before, _cut(text[start:end], _PASSAGE), after + ("…" if end + _CONTEXT < len(text) else "")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def quarantine_samples(dataset: PathLike, count: int) -> list[dict[str, Any]]:
    """Up to `count` quarantined pieces of each reason, in the order in which they were read.

    Raises:
      DataError: ingest hasn't been run.
    """
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(dataset, QUARANTINED, "ingest"):
        rows = by_reason.setdefault(row["reason"], [])
        if len(rows) < count:
            rows.append(row)
    return [row for reason in sorted(by_reason) for row in by_reason[reason]]


def _rows(dataset: PathLike, folder: str, command: str) -> Iterator[dict[str, Any]]:
    path = as_path(dataset) / folder
    for name in engine.require(path, command):
        yield from engine.read_partition(path / name).to_pylist()
