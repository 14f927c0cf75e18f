"""Lines, paragraphs and sentences that many documents share: navigation, banners, running headers, repeated passages.

Three steps over an exchange. Each partition of documents says which units it holds, in how many documents, and which
of these is first; each partition of hashes adds that up and answers those partitions that hold a repeat; those cut.
What a partition sends is one row a unit, however many of its documents hold it, so that no unit makes a step large.

Counting lines over a corpus is CCNet's rule (Wenzek et al. 2020, section 3.1), which drops all but the first; C4's
(Raffel et al. 2020, section 2.2) drops all but one of any three-sentence span: ``unit="sentence", span=3,
keep="first", min_documents=2, scope="corpus"``.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipeline import attributes, engine, exchange, shingles
from data_pipeline.config import DataConfig, SegmentsConfig
from data_pipeline.document import ATTRIBUTES, JUDGEMENT
from data_pipeline.segments import samples
from data_pipeline.segments.splitting import Span, cut, fenced, split
from maxlm.paths import PathLike, as_path

SEGMENTED = f"{ATTRIBUTES}/segments"
_HELD = "corpus/segments/held"  # by row: which units a document holds
_SEEN = "corpus/segments/seen"  # by hash of unit: in how many documents of a partition
_REPEATED = "corpus/segments/repeated"  # by partition of documents: which of its units are repeats
_CUT = "corpus/segments/cut"  # samples of what was cut

# `rank` and `document` tell the first document that holds a unit: the least hash of an id, then the place.
_SEEN_ROW = pa.schema(
    [
        ("key", pa.uint64()),
        ("partition", pa.int32()),
        ("documents", pa.int64()),
        ("rank", pa.uint64()),
        ("document", pa.int64()),
    ]
)
_REPEATED_ROW = pa.schema([("key", pa.uint64()), ("documents", pa.int64()), ("kept", pa.int64())])
_NONE_KEPT = -1
_SHOWN_CHARACTERS = 200
_BATCH_UNITS = 200_000
# Counts with the parameters into the stage's digest: raise it when other units come to be cut.
_VERSION = 1


def run(config: DataConfig, dataset: PathLike) -> None:
    """Writes DATASET/corpus/attributes/segments and samples of what is cut to DATASET/corpus/segments.jsonl.

    Does nothing where ``config.segments.unit`` is "".

    Raises:
      DataError: a stage before this one is not finished.
    """
    if not config.segments.unit:
        return
    dataset = as_path(dataset)
    inputs = attributes.folders_before(config, dataset, "segments")
    names = engine.require(inputs[0], "ingest")
    size_bytes = sum((folder / name).stat().length for folder in inputs for name in names)
    options, count, runner = config.segments, len(names), config.runner
    jobs = {name: (number, [str(folder / name) for folder in inputs]) for number, name in enumerate(names)}

    held, seen, repeated = dataset / _HELD, dataset / _SEEN, dataset / _REPEATED
    digest = engine.digest("segments", [_VERSION, asdict(options)], inputs)
    stage = engine.Stage("segments: units", (held, seen), digest, runner)
    engine.make_partitions(stage, partial(_find, options, count), jobs, size_bytes)

    stage = engine.Stage("segments: counts", (repeated,), digest, runner)
    numbers = dict(zip(names, range(count), strict=True))
    engine.make_partitions(stage, partial(_count, options, str(seen), count), numbers, size_bytes)

    stage = engine.Stage("segments: cuts", (dataset / _CUT, dataset / SEGMENTED), digest, runner)
    cuts = {name: (number, str(held / name), paths) for name, (number, paths) in jobs.items()}
    engine.make_partitions(stage, partial(_cut, options, str(repeated)), cuts, size_bytes)
    samples.write(dataset / "corpus/segments.jsonl", [dataset / _CUT / name for name in names], options.sample)


def count(dataset: PathLike) -> tuple[int, int]:
    """How many documents lose units, and how many of them go altogether."""
    folder = as_path(dataset) / SEGMENTED
    tables = [engine.read_partition(folder / name, ["text", "reason"]) for name in engine.require(folder, "segments")]
    edited = sum(table.num_rows - table["text"].null_count for table in tables)
    return edited, sum(table.num_rows - table["reason"].null_count for table in tables)


def normal(unit: str) -> str:
    """What makes two units equal: compatibility forms (NFKC), case and white space don't count."""
    return " ".join((unit if unit.isascii() else unicodedata.normalize("NFKC", unit)).casefold().split())


def held_units(
    options: SegmentsConfig, texts: Sequence[str | None], sources: Sequence[str]
) -> Iterator[tuple[int, list[Span], np.ndarray, np.ndarray]]:
    """For each text that has any: its number, its units, which of them count, and the keys of these units' runs.

    A run is ``options.span`` successive units that count; key i is that of the run that begins with the i-th of them.
    """
    # Letters and digits alone count: rules of dashes and brackets are markup that repeats for its own reasons.
    enough = re.compile(rf"(?:[\W_]*[^\W_]){{{options.min_characters}}}")
    pending: list[tuple[int, list[Span], np.ndarray]] = []
    strings: list[str] = []
    for row, text in enumerate(texts):
        if text is None:
            continue
        spans = split(text, options.unit)
        code = np.array(fenced(text), np.int64).reshape(-1, 2)
        inside = _overlap(np.array(spans, np.int64).reshape(-1, 2), code)
        counting = [i for i, (start, end) in enumerate(spans) if not inside[i] and enough.match(text, start, end)]
        pending.append((row, spans, np.array(counting, np.int64)))
        strings += [normal(text[slice(*spans[i])]) for i in counting]
        if len(strings) >= _BATCH_UNITS:
            yield from _keyed(options, pending, strings, sources)
            pending, strings = [], []
    yield from _keyed(options, pending, strings, sources)


def _overlap(spans: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which spans have a character in common with one of `others`; both in order, without overlaps of their own."""
    if not len(others):
        return np.zeros(len(spans), bool)
    next_one = np.minimum(np.searchsorted(others[:, 1], spans[:, 0], side="right"), len(others) - 1)
    return (others[next_one, 0] < spans[:, 1]) & (others[next_one, 1] > spans[:, 0])


def _keyed(
    options: SegmentsConfig,
    pending: list[tuple[int, list[Span], np.ndarray]],
    strings: list[str],
    sources: Sequence[str],
) -> Iterator[tuple[int, list[Span], np.ndarray, np.ndarray]]:
    hashes = shingles.hash_strings(strings)
    by_source = {name: shingles.hash_strings([name]) for name in {sources[row] for row, _, _ in pending}}
    start = 0
    for row, spans, counting in pending:
        units = hashes[start : start + len(counting)]
        start += len(counting)
        if options.scope == "source":
            units = units ^ by_source[sources[row]]
        yield row, spans, counting, shingles.run_hashes(units, options.span)


def _read(options: SegmentsConfig, paths: Sequence[str]) -> tuple[pa.Table, list[str | None]]:
    """The documents of a partition, and the texts that take part."""
    documents, *said = (engine.read_partition(path) for path in paths)
    texts = attributes.current_texts(documents, said)
    skipped = set(options.skip_domains)
    domains = documents["domain"].to_pylist()
    return documents, [None if domain in skipped else text for text, domain in zip(texts, domains, strict=True)]


def _find(options: SegmentsConfig, partitions: int, job: tuple[int, list[str]]) -> tuple[pa.Table, engine.Scattered]:
    """The units of a partition's documents: by row, and counted, to be scattered by key."""
    number, paths = job
    documents, texts = _read(options, paths)
    ids, sources = documents["id"].to_pylist(), documents["source"].to_pylist()
    rows, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for row, _, _, found in held_units(options, texts, sources):
        rows.append(np.full(len(found), row, np.int64))
        keys.append(found)
    row, key = np.concatenate(rows), np.concatenate(keys)
    seen = _seen(number, row, key, shingles.hash_strings(ids))
    return pa.table({"row": row, "key": key}), exchange.scatter(seen, "key", partitions)


def _seen(number: int, row: np.ndarray, key: np.ndarray, ranks: np.ndarray) -> pa.Table:
    """One row for each different unit of a partition."""
    order = np.lexsort((row, ranks[row], key))
    row, key = row[order], key[order]
    another = np.ones(len(key), bool)  # a unit twice in a document is in one document
    another[1:] = (key[1:] != key[:-1]) | (row[1:] != row[:-1])
    row, key = row[another], key[another]
    starts = _starts(key)
    first = row[starts]
    return pa.table(
        [
            key[starts],
            np.full(len(starts), number, np.int32),
            np.diff(starts, append=len(key)),
            ranks[first],
            number << 32 | first,
        ],
        schema=_SEEN_ROW,
    )


def _starts(ordered: np.ndarray) -> np.ndarray:
    """Where each different value of a sorted array begins."""
    return np.flatnonzero(np.diff(ordered, prepend=ordered[:1] + 1)) if len(ordered) else np.empty(0, np.int64)


def _count(options: SegmentsConfig, seen: str, parts: int, number: int) -> tuple[engine.Scattered]:
    """Which units of a partition of keys are repeats, told to each partition of documents that holds them."""
    table = exchange.gather(seen, number)
    columns = {name: table[name].to_numpy() for name in _SEEN_ROW.names}
    order = np.lexsort((columns["document"], columns["rank"], columns["key"]))
    columns = {name: column[order] for name, column in columns.items()}
    starts = _starts(columns["key"])
    group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(order)))
    totals = np.bincount(group, columns["documents"], len(starts)).astype(np.int64)
    repeated = np.flatnonzero(totals[group] >= options.min_documents)
    kept = columns["document"][starts][group] if options.keep == "first" else np.full(len(group), _NONE_KEPT)
    answer = [columns["key"][repeated], totals[group][repeated], kept[repeated]]
    return (exchange.send(pa.table(answer, schema=_REPEATED_ROW), columns["partition"][repeated], parts),)


def _cut(options: SegmentsConfig, repeated: str, job: tuple[int, str, list[str]]) -> tuple[pa.Table, pa.Table]:
    """Samples of what is cut from a partition's documents, and their attributes."""
    number, held_path, paths = job
    repeats = exchange.gather(repeated, number).sort_by("key")
    key, documents_with, kept = (repeats[name].to_numpy() for name in _REPEATED_ROW.names)
    held = engine.read_partition(held_path)
    affected = set(held["row"].to_numpy()[np.isin(held["key"].to_numpy(), key)].tolist())
    documents, texts = _read(options, paths)
    texts = [text if row in affected else None for row, text in enumerate(texts)]
    ids, sources = documents["id"].to_pylist(), documents["source"].to_pylist()
    said: dict[int, dict[str, Any]] = {}
    taken = samples.Samples(options.sample, options.seed)
    for row, spans, counting, keys in held_units(options, texts, sources):
        place = np.minimum(np.searchsorted(key, keys), len(key) - 1)
        gone = (key[place] == keys) & (kept[place] != (number << 32 | row))
        cuts: dict[int, int] = {}  # unit -> in how many documents it, or a run that it is part of, stands
        for run in np.flatnonzero(gone).tolist():
            times = int(documents_with[place[run]])
            for unit in counting[run : run + options.span].tolist():
                cuts[unit] = max(cuts.get(unit, 0), times)
            start, end = spans[counting[run]][0], spans[counting[run + options.span - 1]][1]
            taken.add(int(keys[run]), str(texts[row])[start:end], times, ids[row])
        if cuts:
            said[row] = _say(options, str(texts[row]), spans, cuts)
    rows = [{"id": name, **said.get(row, {})} for row, name in enumerate(ids)]
    return taken.table(), pa.Table.from_pylist(rows, schema=JUDGEMENT)


def _say(options: SegmentsConfig, text: str, spans: Sequence[Span], cuts: dict[int, int]) -> dict[str, Any]:
    """The attributes of a document that loses units."""
    first = min(cuts)
    start, end = spans[first]
    share = sum(spans[i][1] - spans[i][0] for i in cuts) / sum(end - start for start, end in spans)
    shown = text[start:end][:_SHOWN_CHARACTERS]
    row = {
        "evidence": f"{len(cuts)} of {len(spans)} {options.unit}s repeat; in {cuts[first]} documents: {shown}",
        "value": share,
        "start": start,
        "end": end,
    }
    if share > options.max_cut_share or len(cuts) == len(spans):
        return row | {"operator": "segments", "reason": "repeated_segments"}
    return row | {"text": cut(text, spans, cuts), "edits": [(f"segments.{options.unit}", len(cuts))]}
