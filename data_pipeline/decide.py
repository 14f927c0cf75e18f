"""The one decision: documents and their attributes read side by side into what stays and what goes.

Attributes name reasons; only here does a document leave the corpus. A threshold that changes recomputes its own
attributes and this.
"""

from typing import Any

import pyarrow as pa

from data_pipeline import engine
from data_pipeline.config import DataConfig
from data_pipeline.document import ATTRIBUTES, DOCUMENTS, INGESTED, KEPT, REMOVED, REMOVED_DOCUMENTS
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

STAGES = ("clean", "dedup")  # in the order in which the first reason counts


def run(config: DataConfig, dataset: PathLike) -> None:
    """Writes DATASET/documents, with edited texts, and DATASET/removed, with operator, reason and evidence.

    Raises:
      DataError: a stage is not finished, attributes stand beside other documents, or nothing is left.
    """
    dataset = as_path(dataset)
    inputs = [dataset / INGESTED, *(dataset / ATTRIBUTES / stage for stage in STAGES)]
    names = engine.require(inputs[0], "ingest")
    for folder, command in zip(inputs[1:], STAGES, strict=True):
        engine.require(folder, command)
    folders = (dataset / REMOVED_DOCUMENTS, dataset / DOCUMENTS)
    stage = engine.Stage("decide", folders, engine.digest("decide", 2, inputs), config.runner)
    jobs = {name: [str(folder / name) for folder in inputs] for name in names}
    engine.make_partitions(stage, _decide_partition, jobs, sum((inputs[0] / name).stat().length for name in names))
    if not any(engine.read_partition(dataset / DOCUMENTS / name, ["id"]).num_rows for name in names):
        raise DataError(f"no document is left: `maxlm-data report --dataset={dataset}` says which operators took them")


def _decide_partition(paths: list[str]) -> tuple[pa.Table, pa.Table]:
    tables = [engine.read_partition(path) for path in paths]
    if any(table["id"] != tables[0]["id"] for table in tables[1:]):
        raise DataError(f"{paths[0]}: its attributes belong to other documents: run `maxlm-data clean` again")
    return decide(tables[0], tables[1:])


def decide(documents: pa.Table, attributes: list[pa.Table]) -> tuple[pa.Table, pa.Table]:
    """Removed and kept documents, given tables of attributes with the same rows; the first reason counts."""
    removed: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    for document, *said in zip(documents.to_pylist(), *(table.to_pylist() for table in attributes), strict=True):
        for row in said:
            if row.get("text") is not None:
                document["text"] = row["text"]
            if row.get("marks"):
                document["marks"] = row["marks"]
            if row["reason"] is not None:
                removed.append({**document, **_why(row)})
                break
        else:
            kept.append(document)
    return pa.Table.from_pylist(removed, schema=REMOVED), pa.Table.from_pylist(kept, schema=KEPT)


def _why(row: dict[str, Any]) -> dict[str, Any]:
    kept = row.get("kept")
    evidence = None if kept is None else f"kept {kept}, similarity {row['similarity']:.3f}"
    passage = {key: row.get(key) for key in ("value", "start", "end")}
    return {"operator": row["operator"], "reason": row["reason"], "evidence": evidence, **passage}
