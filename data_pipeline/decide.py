"""The one decision: documents and their attributes read side by side into what stays and what goes.

Attributes name reasons; only here does a document leave the corpus. A threshold that changes recomputes its own
attributes and this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline import attributes as attributes_lib
from data_pipeline import engine
from data_pipeline.config import DataConfig, KeepConfig
from data_pipeline.document import ATTRIBUTES, DOCUMENT, DOCUMENTS, KEPT, REMOVED, REMOVED_DOCUMENTS
from data_pipeline.score import keep
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, exclusive

_VERSION = 4
_TEXT_BYTES = 16  # how much less work a byte of text is here than in a recipe
_WHY = ("operator", "reason", "evidence", "value", "start", "end")
_BUSY = (
    "{0}: a producer is reading the documents there: stop it (Ctrl-C) before they are decided upon anew; "
    "the blocks that stand remain"
)


def run(config: DataConfig, dataset: PathLike) -> None:
    """Writes DATASET/documents, with edited texts, and DATASET/removed, with operator, reason and evidence.

    Raises:
      UserError: a producer is at work on these documents.
      DataError: a stage is not finished, attributes stand beside other documents, or nothing is left.
    """
    dataset = as_path(dataset)
    inputs = attributes_lib.folders_before(config, dataset, "decide")
    names = engine.require(inputs[0], "ingest")
    folders = (dataset / REMOVED_DOCUMENTS, dataset / DOCUMENTS)
    asked = attributes_lib.stages(config)
    rules = [[asdict(rule) for rule in config.keep], config.domain_from]
    digest = engine.digest("decide", [_VERSION, list(asked), rules], inputs)
    if not all(engine.is_complete(folder, digest) for folder in folders):
        with exclusive(dataset / "producer.lock", _BUSY.format(dataset)):
            stage = engine.Stage("decide", folders, digest, config.runner)
            jobs = {name: [str(folder / name) for folder in inputs] for name in names}
            size_bytes = sum((inputs[0] / name).stat().length for name in names) // _TEXT_BYTES
            work = partial(_decide_partition, asked, config.keep, config.domain_from)
            engine.make_partitions(stage, work, jobs, size_bytes)
    if not any(engine.count_rows(dataset / DOCUMENTS / name) for name in names):
        raise DataError(f"no document is left: `maxlm-data report --dataset={dataset}` says which operators took them")


def _decide_partition(
    asked: tuple[str, ...], rules: tuple[KeepConfig, ...], domain_from: str, paths: list[str]
) -> tuple[pa.Table, pa.Table]:
    documents, *said = (engine.read_partition(path) for path in paths)
    for stage, table in zip(asked, said, strict=True):
        if table["id"] != documents["id"]:
            path = as_path(paths[0]).parents[2] / ATTRIBUTES / stage
            raise DataError(f"{path}: its attributes belong to other documents: run `maxlm-data clean` again")
    return decide(documents, dict(zip(asked, said, strict=True)), rules, domain_from)


def decide(
    documents: pa.Table, attributes: Mapping[str, pa.Table], rules: Sequence[KeepConfig] = (), domain_from: str = ""
) -> tuple[pa.Table, pa.Table]:
    """Removed and kept documents, given tables of attributes with the same rows, by stage; the first reason counts.

    What a stage says counts first, then a rule over scores, then what dedup says: a document that no one wants is not
    a loss for being a copy. What is kept gets its label by the score `domain_from` as its domain.
    """
    domain = keep.domains(domain_from, documents, attributes)
    if rules:
        verdict = keep.judge(rules, domain, attributes)
        stages = [(stage, table) for stage, table in attributes.items() if stage != "dedup"]
        after = [(stage, table) for stage, table in attributes.items() if stage == "dedup"]
        attributes = dict([*stages, (keep.OPERATOR, verdict), *after])
    left = np.ones(documents.num_rows, bool)
    texts, why = documents["text"], [REMOVED.empty_table().select(_WHY)]
    gone = [np.empty(0, np.int64)]
    for table in attributes.values():
        if "text" in table.column_names:
            texts = _replaced(texts, table["text"], left & _valid(table["text"]))
        if "reason" in table.column_names:
            rows = np.flatnonzero(left & _valid(table["reason"]))
            left[rows] = False
            gone.append(rows)
            why.append(_why(table.take(pa.array(rows))))
    documents = documents.select(DOCUMENT.names).set_column(DOCUMENT.names.index("text"), "text", texts)
    rows = np.concatenate(gone)
    order = pa.array(np.argsort(rows))
    reasons = pa.concat_tables(why).take(order)
    removed = documents.take(pa.array(rows).take(order))
    removed = pa.table([*removed.columns, *reasons.columns], schema=REMOVED)
    stay = pa.array(np.flatnonzero(left))
    documents = documents.set_column(DOCUMENT.names.index("domain"), "domain", domain)
    documents = documents.take(stay)
    said = [column.take(stay) for column in _said(len(left), attributes)]
    size = pc.call_function("binary_length", [documents["text"]]).cast(pa.int64())
    return removed, pa.table([*documents.columns, *said, size], schema=KEPT)


def _valid(column: pa.ChunkedArray) -> np.ndarray:
    return column.is_valid().to_numpy()


def _replaced(old: pa.ChunkedArray, new: pa.ChunkedArray, where: np.ndarray) -> pa.ChunkedArray:
    """`old`, with the values of `new` at some places."""
    places = np.arange(len(old))
    both = pa.chunked_array([*old.chunks, *new.chunks], old.type)
    return both.take(pa.array(np.where(where, places + len(old), places))) if where.any() else old


def _why(table: pa.Table) -> pa.Table:
    """The columns that say why a document goes, of a stage's rows."""
    if "kept" in table.column_names:
        pairs = zip(table["kept"].to_pylist(), table["similarity"].to_pylist(), strict=True)
        evidence = [f"kept {kept}, similarity {similarity:.3f}" for kept, similarity in pairs]
        table = table.append_column("evidence", pa.array(evidence, pa.string()))
    columns = [
        table[name] if name in table.column_names else pa.nulls(table.num_rows, REMOVED.field(name).type)
        for name in _WHY
    ]
    return pa.table(columns, schema=pa.schema([REMOVED.field(name) for name in _WHY]))


def _said(rows: int, attributes: Mapping[str, pa.Table]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Marks, scores and clusters of all documents."""
    marks: dict[int, list[str]] = {}
    scores: dict[int, list[tuple[str, float]]] = {}
    cluster = pa.nulls(rows, pa.string())
    for stage, table in attributes.items():
        if "marks" in table.column_names:
            lengths = pc.call_function("list_value_length", [table["marks"]]).fill_null(0)
            for row in np.flatnonzero(lengths.to_numpy()).tolist():
                marks.setdefault(row, []).extend(table["marks"][row].as_py())
        if stage.startswith(attributes_lib.SCORE) and "score" in table.column_names:
            for row, score in enumerate(table["score"].to_pylist()):
                if score is not None:
                    scores.setdefault(row, []).append((stage.removeprefix(attributes_lib.SCORE), score))
        if "cluster" in table.column_names:
            cluster = table["cluster"].combine_chunks()
    return (
        _spread(rows, marks, KEPT.field("marks").type),
        _spread(rows, scores, KEPT.field("scores").type),
        cluster,
    )


def _spread(rows: int, values: Mapping[int, Any], kind: pa.DataType) -> pa.Array:
    """A column of `rows` rows with values in some of them."""
    places = np.full(rows, len(values))
    places[list(values)] = np.arange(len(values))
    return pa.array([*values.values(), None], kind).take(pa.array(places))
