"""Documents that share runs of words with benchmark items, what is done about them, and the list of all hits.

The measure is that of Brown et al. 2020 (GPT-3, appendix C): any run of 13 words in common, and 200 characters around
it where the passage is cut. Three sorts of runs are held back: those that many items of a file share (its template);
and, unless a document holds nearly all of the item, those that many documents hold (a licence or a famous line that a
benchmark quotes is no leak of the benchmark) and those of numbers (0, 1, 2, ...). All are listed.

Each partition is scanned for runs of the index; an exchange counts the documents that hold each; each partition is
judged by what it found. Nothing here is larger than the benchmarks' index or a partition.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath

from data_pipeline import attributes, engine, exchange, shingles
from data_pipeline.config import DataConfig, DecontaminateConfig
from data_pipeline.decontamination import benchmarks, contamination, wordruns
from data_pipeline.decontamination.contamination import HIT
from data_pipeline.document import ATTRIBUTES, JUDGEMENT
from maxlm.paths import PathLike, as_path

DECONTAMINATED = f"{ATTRIBUTES}/decontaminate"
_RUNS = "corpus/decontamination/runs"  # the index
_FOUND = "corpus/decontamination/found"  # by document: runs of the index, and where
_HOLDERS = "corpus/decontamination/holders"  # by run: how many documents of a partition hold it

_FOUND_ROW = pa.schema([("row", pa.int64()), ("run", pa.uint64()), ("start", pa.int64()), ("end", pa.int64())])
_HOLDERS_ROW = pa.schema([("run", pa.uint64()), ("documents", pa.int64()), ("text", pa.string())])
_BATCH_CHARACTERS = 500_000
# A longer text is scanned in pieces of so many characters that overlap by more than a run of words can measure.
_PIECE_CHARACTERS, _OVERLAP_CHARACTERS = 4_000_000, 20_000
_SHOWN_CHARACTERS, _PASSAGE_CHARACTERS = 200, 1000  # of a passage: in evidence, in the list of hits
_WORD_CHARACTERS = 20  # of a word that a margin cuts in two: text without spaces has no longer ones
# Counts with the parameters into the stages' digests: raise it when they come to find or judge otherwise.
_VERSION = 1
[_INDEX_NAME] = engine.partition_names(1)


def run(config: DataConfig, dataset: PathLike) -> None:
    """Writes DATASET/corpus/attributes/decontaminate, and the hits and their summary beside it.

    Does nothing where ``config.decontaminate.benchmarks`` is ().

    Raises:
      ConfigError: a benchmark pattern names no readable file.
      DataError: a benchmark file is damaged, or a stage before this one is not finished.
    """
    if not config.decontaminate.benchmarks:
        return
    dataset, options = as_path(dataset), config.decontaminate
    inputs = attributes.folders_before(config, dataset, "decontaminate")
    names = engine.require(inputs[0], "ingest")
    size_bytes = sum((folder / name).stat().length for folder in inputs for name in names)
    jobs = {name: [str(folder / name) for folder in inputs] for name in names}
    runs = _index(config, dataset)
    index = (str(runs / _INDEX_NAME), engine.stage_digest(runs))

    found, holders, common = dataset / _FOUND, dataset / _HOLDERS, dataset / contamination.COMMON
    digest = engine.digest("decontaminate", [_VERSION, asdict(options)], [runs, *inputs])
    stage = engine.Stage("decontaminate: scan", (holders, found), digest, config.runner)
    engine.make_partitions(stage, partial(_scan_partition, index, len(names)), jobs, size_bytes)

    stage = engine.Stage("decontaminate: counts", (common,), digest, config.runner)
    numbers = dict(zip(names, range(len(names)), strict=True))
    engine.make_partitions(stage, partial(_common, options.max_documents, str(holders)), numbers, 0)

    stage = engine.Stage(
        "decontaminate", (dataset / contamination.HITS, dataset / DECONTAMINATED), digest, config.runner
    )
    items = str(dataset / contamination.ITEMS / _INDEX_NAME)
    judge = partial(_judge_partition, options, index, items, [str(common / name) for name in names])
    engine.make_partitions(stage, judge, {name: (str(found / name), paths) for name, paths in jobs.items()}, size_bytes)
    contamination.summarise(dataset, names)


def _index(config: DataConfig, dataset: epath.Path) -> epath.Path:
    """Reads the benchmark files; the folder of their runs."""
    files = benchmarks.files(config.decontaminate)
    stats = [Path(file.path).stat() for file in files]
    known = [[file.path, stat.st_size, stat.st_mtime_ns] for file, stat in zip(files, stats, strict=True)]
    digest = engine.digest("benchmarks", [_VERSION, asdict(config.decontaminate), known])
    folders = tuple(dataset / folder for folder in (contamination.TEMPLATES, contamination.ITEMS, _RUNS))
    stage = engine.Stage("decontaminate: benchmarks", folders, digest)
    engine.make_partitions(stage, partial(benchmarks.build, config.decontaminate), {_INDEX_NAME: files}, 0)
    return folders[-1]


def _scan_partition(index: tuple[str, str], partitions: int, paths: Sequence[str]) -> tuple[engine.Scattered, pa.Table]:
    """How many documents of a partition hold each run that any holds, to be scattered; and where they stand."""
    documents, *said = (engine.read_partition(path) for path in paths)
    texts = attributes.current_texts(documents, said)
    found = scan(benchmarks.load(*index), texts)
    run, row = found["run"].to_numpy(), found["row"].to_numpy()
    order = np.lexsort((row, run))
    another = np.ones(len(run), bool)
    another[1:] = (run[order][1:] != run[order][:-1]) | (row[order][1:] != row[order][:-1])
    once = order[another]
    different, first, counts = np.unique(run[once], return_index=True, return_counts=True)
    places = found.take(once[first]).to_pylist()
    shown = [str(texts[place["row"]])[place["start"] : place["end"]][:_SHOWN_CHARACTERS] for place in places]
    holders = pa.table([different, counts, pa.array(shown, pa.string())], schema=_HOLDERS_ROW)
    return exchange.scatter(holders, "run", partitions), found


def scan(index: benchmarks.Index, texts: Sequence[str | None]) -> pa.Table:
    """Where runs of the index stand in `texts`: in the order of texts and places, the longest first at one place."""
    found = [(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64))]
    for pieces in _batches(texts):
        words = wordruns.words_of([text for _, _, text in pieces])
        rows = np.array([row for row, _, _ in pieces], np.int64)
        offsets = np.array([offset for _, offset, _ in pieces], np.int64)
        hashes_of_lengths = shingles.runs_of_lengths(words.hashes, index.lengths)
        for length, hashes in zip(index.lengths, hashes_of_lengths, strict=True):
            first, place = index.find(hashes, length)
            within = words.text[first] == words.text[first + length - 1]
            first, place = first[within], place[within]
            piece = words.text[first]
            begin, end = words.start[first] + offsets[piece], words.end[first + length - 1] + offsets[piece]
            found.append((rows[piece], index.runs[place], begin, end))
    row, run, start, end = (np.concatenate([part[i] for part in found]) for i in range(4))
    order = np.lexsort((run, -end, start, row))
    columns = np.stack([row, start, end])[:, order]
    another = np.ones(len(order), bool)  # pieces overlap
    another[1:] = (columns[:, 1:] != columns[:, :-1]).any(axis=0)
    order = order[another]
    return pa.table([row[order], run[order], start[order], end[order]], schema=_FOUND_ROW)


def _batches(texts: Sequence[str | None]) -> Iterator[list[tuple[int, int, str]]]:
    """The texts in handy portions: row, offset of the piece, piece."""
    batch: list[tuple[int, int, str]] = []
    size = 0
    for row, text in enumerate(texts):
        for offset in range(0, max(1, len(text or "") - _OVERLAP_CHARACTERS), _PIECE_CHARACTERS - _OVERLAP_CHARACTERS):
            batch.append((row, offset, (text or "")[offset : offset + _PIECE_CHARACTERS]))
            size += len(batch[-1][2])
            if size >= _BATCH_CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _common(max_documents: int, holders: str, number: int) -> tuple[pa.Table]:
    """The runs of a partition of runs that too many documents hold."""
    table = exchange.gather(holders, number)
    run, group = np.unique(table["run"].to_numpy(), return_inverse=True)
    totals = np.bincount(group, table["documents"].to_numpy(), len(run)).astype(np.int64)
    first = np.full(len(run), len(group))
    np.minimum.at(first, group, np.arange(len(group)))
    common = np.flatnonzero((totals > max_documents) & (max_documents > 0))
    texts = table["text"].take(pa.array(first[common]))
    return (pa.table([run[common], totals[common], texts.combine_chunks()], schema=_HOLDERS_ROW),)


def _judge_partition(
    options: DecontaminateConfig,
    index: tuple[str, str],
    items: str,
    common: Sequence[str],
    job: tuple[str, list[str]],
) -> tuple[pa.Table, pa.Table]:
    """The hits of a partition, and the attributes of its documents."""
    found_path, paths = job
    documents, *said = (engine.read_partition(path) for path in paths)
    texts = attributes.current_texts(documents, said)
    frequent = np.concatenate([engine.read_partition(path, ["run"])["run"].to_numpy() for path in common])
    found = engine.read_partition(found_path)
    overlaps = contamination.overlaps(options, benchmarks.load(*index), engine.read_partition(items), found, frequent)
    ids, sources = documents["id"].to_pylist(), documents["source"].to_pylist()
    hits: list[dict[str, Any]] = []
    attributes_of: dict[int, dict[str, Any]] = {}
    for row, shared in overlaps:
        text = str(texts[row])
        counting = [overlap for overlap in shared if overlap.counts]
        action = contamination.LISTED
        if counting:
            attributes_of[row], action = _verdict(options, text, counting)
        for overlap in shared:
            start, end = overlap.longest
            passage = {"start": start, "end": end, "text": text[start:end][:_PASSAGE_CHARACTERS]}
            done = action if overlap.counts else contamination.LISTED
            hits.append({"id": ids[row], "source": sources[row], **overlap.labels(), **passage, "action": done})
    rows = [{"id": name, **attributes_of.get(row, {})} for row, name in enumerate(ids)]
    return pa.Table.from_pylist(hits, schema=HIT), pa.Table.from_pylist(rows, schema=JUDGEMENT)


def _verdict(
    options: DecontaminateConfig, text: str, shared: Sequence[contamination.Overlap]
) -> tuple[dict[str, Any], str]:
    """The attributes of a document that shares runs with items, and what is done about it."""
    worst = max(shared, key=lambda overlap: overlap.runs)  # of equal ones the first
    start, end = worst.longest
    row = {"value": float(worst.runs), "start": start, "end": end}
    row["evidence"] = f"{worst.describe()}: {text[start:end][:_SHOWN_CHARACTERS]}"
    dropped = {"operator": "decontaminate", "reason": "benchmark_overlap"}
    if options.action == "drop":
        return row | dropped, "drop"
    if options.action == "mark":
        return row | {"marks": ["decontaminate.benchmark_overlap"]}, "mark"
    left, cuts = cut(text, [passage for overlap in shared for passage in overlap.passages], options.margin)
    if not left or len(left) < (1 - options.max_cut_share) * len(text):
        return row | dropped, "drop"
    return row | {"text": left, "edits": [("decontaminate.passage", cuts)]}, "cut"


def cut(text: str, passages: Sequence[tuple[int, int]], margin: int) -> tuple[str, int]:
    """The text without these passages and `margin` characters on either side of each, and how many places that is.

    A margin that ends within a word takes the rest of it.
    """
    merged: list[tuple[int, int]] = []
    for start, end in sorted(passages):
        start, end = _whole_words(text, max(0, start - margin), min(len(text), end + margin))
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    ends = [0, *(place for passage in merged for place in passage), len(text)]
    pieces = [text[start:end].strip() for start, end in zip(ends[::2], ends[1::2], strict=True)]
    return "\n".join(piece for piece in pieces if piece), len(merged)


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    for _ in range(_WORD_CHARACTERS):
        if start and not text[start - 1].isspace() and not text[start].isspace():
            start -= 1
        if end < len(text) and not text[end - 1].isspace() and not text[end].isspace():
            end += 1
    return start, end
