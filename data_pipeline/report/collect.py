"""What a corpus is made of, before and after, and what took the difference: plain values, a partition at a time."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from data_pipeline import engine, recipe
from data_pipeline.document import DOCUMENTS, INGESTED, QUARANTINED, REMOVED_DOCUMENTS
from data_pipeline.report import shift
from maxlm.paths import PathLike, as_path, read_json, write_json

REPORT = "corpus/report.json"
LABELS = ("domain", "language", "source")
_LENGTH_BINS = 24  # lengths of 2**i to 2**(i+1) characters
Sizes = dict[str, int]  # documents, characters, bytes


def corpus_report(dataset: PathLike) -> dict[str, Any]:
    """Composition, removals, edits and quarantine of a data set, as far as its stages have run; saved beside it.

    Keys:
      ingested, kept: {domain, language, source: {name: {documents, characters, bytes}}, total}
      removed: {domain, language, source: {name: {operator: {reason: sizes}}}}
      funnel: [{operator, sizes of what it removed}], in the order in which operators act
      lengths: {ingested, kept: {domain: [documents of 2**i to 2**(i+1) characters]}}
      edits: {domain: {kind: places}}, and marks: {domain: {mark: documents}}, of documents kept by the recipe
      quarantine: {reason: pieces}
      alarms: operators that take one language, domain or source far more than the others (report/shift.py)
    `kept`, `removed` and what follows from them are empty where their stage has not run.

    Raises:
      DataError: nothing has been ingested, or a partition is damaged.
    """
    dataset = as_path(dataset)
    engine.require(dataset / INGESTED, "ingest")
    lengths: dict[str, dict[str, list[int]]] = {"ingested": {}, "kept": {}}
    ingested = _composition(dataset / INGESTED, lengths["ingested"])
    removed = _removed(dataset / REMOVED_DOCUMENTS)
    edits, marks = _edits(dataset)
    report = {
        "ingested": ingested,
        "kept": _composition(dataset / DOCUMENTS, lengths["kept"]),
        "removed": removed,
        "funnel": _funnel(dataset, removed.get("domain", {})),
        "lengths": lengths,
        "edits": edits,
        "marks": marks,
        "quarantine": dict(sorted(_quarantine(dataset / QUARANTINED).items())),
        "alarms": [asdict(alarm) for alarm in shift.alarms(ingested, removed)],
    }
    write_json(dataset / REPORT, report)
    return report


def _tables(folder: epath.Path, columns: list[str]) -> Iterable[pa.Table]:
    """The partitions of a finished stage one by one; nothing of an unfinished one."""
    if engine.is_complete(folder):
        names = engine.require(folder, "ingest")
        yield from (engine.read_partition(folder / name, columns) for name in names)


def _composition(folder: epath.Path, lengths: dict[str, list[int]]) -> dict[str, Any]:
    """Sizes by label and in total; adds the lengths of texts by domain to `lengths`."""
    by_label: dict[str, dict[tuple[str, ...], Counter[str]]] = {label: {} for label in (*LABELS, "total")}
    for table in _tables(folder, ["text", *LABELS]):
        measured = _measure(table)
        for label in LABELS:
            _add_sizes(by_label[label], measured, [label])
        _add_sizes(by_label["total"], measured, [])
        _add_lengths(lengths, measured)
    plain = {label: {key[0]: dict(sizes) for key, sizes in sorted(by_label[label].items())} for label in LABELS}
    return {**plain, "total": dict(by_label["total"].get((), {}))} if by_label["total"] else {}


def _measure(table: pa.Table) -> pa.Table:
    """A table with the sizes of its texts in their place."""
    characters = pc.call_function("utf8_length", [table["text"]])
    sizes = pc.call_function("binary_length", [table["text"]])
    return table.drop_columns(["text"]).append_column("characters", characters).append_column("bytes", sizes)


def _add_sizes(into: dict[tuple[str, ...], Counter[str]], measured: pa.Table, labels: list[str]) -> None:
    """Adds up documents, characters and bytes of a measured table for each combination of `labels`."""
    if not measured.num_rows:
        return
    summed = measured.group_by(labels, use_threads=False).aggregate(
        [([], "count_all"), ("characters", "sum"), ("bytes", "sum")]
    )
    for row in summed.to_pylist():
        sizes = into.setdefault(tuple(row[label] for label in labels), Counter())
        sizes.update(documents=row["count_all"], characters=row["characters_sum"], bytes=row["bytes_sum"])


def _add_lengths(into: dict[str, list[int]], measured: pa.Table) -> None:
    domains = np.asarray(measured["domain"].to_pylist())
    characters = np.maximum(measured["characters"].to_numpy(), 1)
    bins = np.minimum(np.log2(characters).astype(np.int64), _LENGTH_BINS - 1)
    for domain in dict.fromkeys(domains.tolist()):
        counts = np.bincount(bins[domains == domain], minlength=_LENGTH_BINS)
        into[domain] = (np.asarray(into.get(domain, [0] * _LENGTH_BINS)) + counts).tolist()


def _removed(folder: epath.Path) -> dict[str, Any]:
    sums: dict[str, dict[tuple[str, ...], Counter[str]]] = {label: {} for label in LABELS}
    for table in _tables(folder, ["text", *LABELS, "operator", "reason"]):
        measured = _measure(table)
        for label in LABELS:
            _add_sizes(sums[label], measured, [label, "operator", "reason"])
    if not any(sums.values()):
        return {}
    nested: dict[str, Any] = {label: {} for label in LABELS}
    for label in LABELS:
        for (name, operator, reason), sizes in sorted(sums[label].items()):
            nested[label].setdefault(name, {}).setdefault(operator, {})[reason] = dict(sizes)
    return nested


def _funnel(dataset: epath.Path, removed: dict[str, Any]) -> list[dict[str, Any]]:
    """What each operator took, in the order of the recipe, then of the stages after it."""
    sums: dict[str, Counter[str]] = {}
    for operators in removed.values():
        for operator, reasons in operators.items():
            for sizes in reasons.values():
                sums.setdefault(operator, Counter()).update(sizes)
    recipe_file = dataset / recipe.CLEANED / recipe.RECIPE_FILE
    steps = read_json(recipe_file, "recipe")["steps"] if recipe_file.exists() else []
    order = list(dict.fromkeys(step["name"] for step in steps))
    known = [name for name in order if name in sums]
    return [{"operator": name, **sums[name]} for name in [*known, *sorted(sums.keys() - set(order))]]


def _edits(dataset: epath.Path) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Places edited and marks set, by domain, in documents that the recipe keeps."""
    edits: dict[str, Counter[str]] = {}
    marks: dict[str, Counter[str]] = {}
    cleaned = _tables(dataset / recipe.CLEANED, ["reason", "edits", "marks"])
    for documents, attributes in zip(_tables(dataset / INGESTED, ["domain"]), cleaned, strict=False):
        columns = documents["domain"], *(attributes[name] for name in ("reason", "edits", "marks"))
        for domain, reason, edited, marked in zip(*(column.to_pylist() for column in columns), strict=True):
            if reason is None and edited:
                edits.setdefault(domain, Counter()).update(dict(edited))
            if reason is None and marked:
                marks.setdefault(domain, Counter()).update(marked)
    return _sorted(edits), _sorted(marks)


def _sorted(counts: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {domain: dict(sorted(kinds.items())) for domain, kinds in sorted(counts.items())}


def _quarantine(folder: epath.Path) -> Counter[str]:
    return Counter(reason for table in _tables(folder, ["reason"]) for reason in table["reason"].to_pylist())
