"""Which benchmark items a document overlaps, and the list of all such hits: kept, summed up and shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_pipeline import engine
from data_pipeline.config import DecontaminateConfig
from data_pipeline.decontamination.benchmarks import Index
from maxlm.paths import PathLike, as_path, read_json, write_json

FOLDER = "corpus/decontamination"
ITEMS = f"{FOLDER}/items"
TEMPLATES = f"{FOLDER}/templates"
COMMON = f"{FOLDER}/common"  # runs that too many documents hold
HITS = f"{FOLDER}/hits"
SUMMARY = f"{FOLDER}/summary.json"

# A document that shares runs with an item. `runs`: different ones that both hold, `of`: the item's; `start` and `end`:
# the longest passage, in the text as it stood; `action`: what became of the document; "listed": nothing, for this is
# but numbers in a row, or less than was asked for.
HIT = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("benchmark", pa.string()),
        ("item", pa.int64()),
        ("runs", pa.int64()),
        ("of", pa.int64()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("text", pa.string()),
        ("action", pa.string()),
    ]
)
# An item of fewer runs is no long text: that many documents hold it says that it is a phrase.
_MIN_RUNS_OF_COPY = 5
_NUM_COMMON_SHOWN = 20
LISTED = "listed"


@dataclass(frozen=True)
class Overlap:
    """What a document shares with an item."""

    benchmark: str
    item: int  # its place in the benchmark's file
    runs: int  # different runs that both hold
    of: int  # different runs of the item
    passages: tuple[tuple[int, int], ...]  # where they stand in the document, runs that touch joined
    counts: bool  # else it is listed only: numbers in a row

    @property
    def longest(self) -> tuple[int, int]:
        return max(self.passages, key=lambda passage: passage[1] - passage[0])

    def labels(self) -> dict[str, Any]:
        return {"benchmark": self.benchmark, "item": self.item, "runs": self.runs, "of": self.of}

    def describe(self) -> str:
        return f"{self.runs} of {self.of} runs of {self.benchmark} item {self.item}"


def overlaps(
    options: DecontaminateConfig, index: Index, items: pa.Table, found: pa.Table, common: np.ndarray
) -> Iterator[tuple[int, list[Overlap]]]:
    """For each document (by row) that has any, its overlaps with items, in the items' order.

    Runs in `common`, and runs of numbers, count only where the document holds ``options.whole_share`` of a long item's
    runs. What doesn't count is an overlap too, unless it is common.
    """
    row, run, start, end = (found[name].to_numpy() for name in ("row", "run", "start", "end"))
    which, item = index.items_of(np.searchsorted(index.runs, run))
    order = np.lexsort((end[which], start[which], item, row[which]))
    which, item = which[order], item[order]
    if not len(which):
        return
    rare = ~np.isin(run, common)
    plain = index.plain[np.searchsorted(index.runs, run)]
    names, places, totals = (items[name] for name in ("file", "row", "runs"))
    pair = np.flatnonzero(np.diff(row[which], prepend=-1) | np.diff(item, prepend=-1))
    shared: list[tuple[int, Overlap]] = []
    for begin, stop in zip(pair.tolist(), [*pair[1:].tolist(), len(which)], strict=True):
        hits, number = which[begin:stop], int(item[begin])
        of = totals[number].as_py()
        counts = of >= _MIN_RUNS_OF_COPY and len(np.unique(run[hits])) >= options.whole_share * of
        if not counts:
            hits = hits[rare[hits]]
            counts = len(np.unique(run[hits[plain[hits]]])) >= options.min_overlap
            hits = hits[plain[hits]] if counts else hits
        if len(hits):
            passages = _joined(start[hits].tolist(), end[hits].tolist())
            different = len(np.unique(run[hits]))
            overlap = Overlap(names[number].as_py(), places[number].as_py(), different, of, passages, counts)
            shared.append((int(row[hits[0]]), overlap))
    for number, group in groupby(shared, key=lambda pair: pair[0]):
        yield number, [overlap for _, overlap in group]


def _joined(starts: Sequence[int], ends: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Passages made of runs, in order, that overlap."""
    passages: list[tuple[int, int]] = []
    for start, end in zip(starts, ends, strict=True):
        if passages and start <= passages[-1][1]:
            passages[-1] = (passages[-1][0], max(end, passages[-1][1]))
        else:
            passages.append((start, end))
    return tuple(passages)


def summarise(dataset: epath.Path, names: Sequence[str]) -> None:
    """Writes DATASET/corpus/decontamination/summary.json: by benchmark, and what was held back as too common."""
    items = engine.read_partition(dataset / ITEMS / engine.partition_names(1)[0], ["file", "runs"])
    total = {row["values"]: row["counts"] for row in items["file"].value_counts().to_pylist()}
    hit: dict[str, set[int]] = {}
    documents: dict[str, int] = {}
    affected = num_listed = 0
    for name in names:
        listed = engine.read_partition(dataset / HITS / name, ["id", "benchmark", "item", "action"]).to_pylist()
        hits = [row for row in listed if row["action"] != LISTED]
        num_listed += len(listed) - len(hits)
        affected += len({row["id"] for row in hits})
        for row in hits:
            hit.setdefault(row["benchmark"], set()).add(row["item"])
        for benchmark, _ in {(row["benchmark"], row["id"]) for row in hits}:
            documents[benchmark] = documents.get(benchmark, 0) + 1
    common: list[dict[str, Any]] = []
    num_common = 0
    for name in names:
        held = engine.read_partition(dataset / COMMON / name).to_pylist()
        num_common += len(held)
        common = sorted([*common, *held], key=lambda row: (-row["documents"], row["run"]))[:_NUM_COMMON_SHOWN]
    templates = engine.read_partition(dataset / TEMPLATES / engine.partition_names(1)[0])
    write_json(
        dataset / SUMMARY,
        {
            "documents": affected,
            "benchmarks": [
                {"file": file, "items": total[file], "hit": len(hit[file]), "documents": documents[file]}
                for file in sorted(hit)
            ],
            "clean_benchmarks": len(total) - len(hit),
            "items": items.num_rows,
            "items_without_runs": int((items["runs"].to_numpy() == 0).sum()),
            "templates": templates.to_pylist(),
            "only_listed": num_listed,
            "common_runs": num_common,
            "most_common": [{"documents": row["documents"], "text": row["text"]} for row in common],
        },
    )


def count(dataset: PathLike) -> tuple[int, int]:
    """How many items were found, and in how many documents."""
    summary = read_json(as_path(dataset) / SUMMARY, "summary of decontamination")
    return sum(row["hit"] for row in summary["benchmarks"]), summary["documents"]


def show_hits(dataset: PathLike, count: int, console: Console) -> None:
    """Prints the summary, and up to `count` hits of each benchmark: those that share most of an item first.

    Raises:
      DataError: decontamination hasn't been run.
    """
    dataset = as_path(dataset)
    names = engine.require(dataset / HITS, "decontaminate")
    summary = read_json(dataset / SUMMARY, "summary of decontamination")
    table = Table("benchmark", "items", "hit", "documents", title="Benchmark items found in the corpus")
    for row in summary["benchmarks"]:
        table.add_row(escape(row["file"]), f"{row['items']:,}", f"{row['hit']:,}", f"{row['documents']:,}")
    table.add_row(f"{summary['clean_benchmarks']} other files", "", "0", "0")
    console.print(table)
    for row in summary["templates"]:
        told = f"template of {row['file']}, not looked for: {row['runs']} runs, one in {row['items']} items: "
        console.print(escape(told) + escape(repr(row["text"])), style="dim")
    if summary["common_runs"]:
        console.print(
            f"{summary['common_runs']} runs stand in too many documents to tell a leak (max_documents); "
            "they count only in copies of a whole item:",
            style="yellow",
        )
        for row in summary["most_common"]:
            console.print(escape(f"  {row['documents']:,} documents: {row['text']!r}"), style="dim")
    for row in _most_shared(dataset, names, count):
        console.rule(escape(f"{row['benchmark']}, item {row['item']}: {row['runs']} of {row['of']} runs"), align="left")
        console.print(escape(f"{row['id']}  {row['source']}  at {row['start']:,}  {row['action']}"), style="dim")
        console.print(escape(row["text"]))


def _most_shared(dataset: epath.Path, names: Sequence[str], count: int) -> list[dict[str, Any]]:
    best: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for row in engine.read_partition(dataset / HITS / name).to_pylist():
            best.setdefault(row["benchmark"], []).append(row)
        for benchmark, rows in best.items():
            rows.sort(
                key=lambda row: (
                    row["action"] == LISTED,
                    -row["runs"] / row["of"],
                    -row["runs"],
                    row["item"],
                    row["id"],
                )
            )
            best[benchmark] = rows[:count]
    return [row for benchmark in sorted(best) for row in best[benchmark]]
