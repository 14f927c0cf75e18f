"""Looking at what a corpus lost: samples of removed documents by reason, and of input that never became one."""

import heapq
from collections.abc import Iterator
from typing import Any

from data_pipeline import engine
from data_pipeline.document import QUARANTINED, REMOVED_DOCUMENTS
from maxlm.errors import DataError, did_you_mean
from maxlm.paths import PathLike, as_path


def removed_samples(dataset: PathLike, count: int, reason: str = "") -> list[dict[str, Any]]:
    """Up to `count` removed documents of each reason, or of `reason` alone, grouped by operator and reason.

    The sample is that of the smallest ids, which are digests: as good as random, and the same every time.

    Raises:
      DataError: dedup hasn't been run, or no document was removed for `reason` (names the reasons there are).
    """
    by_reason: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in _rows(dataset, REMOVED_DOCUMENTS, "dedup"):
        by_reason.setdefault((row["operator"], row["reason"]), []).append(row)
    chosen = {key: rows for key, rows in by_reason.items() if reason in ("", key[1])}
    if reason and not chosen:
        hint = did_you_mean(reason, {key[1] for key in by_reason})
        raise DataError(f"--reason: no document was removed for {reason!r}{hint}")
    return [row for key in sorted(chosen) for row in heapq.nsmallest(count, chosen[key], key=lambda row: row["id"])]


def quarantine_samples(dataset: PathLike, count: int) -> list[dict[str, Any]]:
    """Up to `count` quarantined pieces of each reason, in the order in which they were read.

    Raises:
      DataError: ingest hasn't been run.
    """
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(dataset, QUARANTINED, "ingest"):
        by_reason.setdefault(row["reason"], []).append(row)
    return [row for reason in sorted(by_reason) for row in by_reason[reason][:count]]


def _rows(dataset: PathLike, folder: str, command: str) -> Iterator[dict[str, Any]]:
    path = as_path(dataset) / folder
    for name in engine.require(path, command):
        yield from engine.read_partition(path / name).to_pylist()
