"""Ingestion: every source through its reader into immutable documents; what can't be read goes to quarantine."""

import hashlib
import json
import os
from dataclasses import asdict
from typing import Any

import orjson
import pyarrow as pa

from data_pipeline import engine
from data_pipeline.config import DataConfig
from data_pipeline.document import DOCUMENT, INGESTED, QUARANTINE, QUARANTINED
from data_pipeline.ingest import storage
from data_pipeline.ingest.language import domain_of, identify
from data_pipeline.ingest.machine import machine_units
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Bad, Row
from data_pipeline.ingest.units import Unit, count_partitions, files_of, share_out
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

# Counts with the parameters into the stage's digest: raise it when documents come out otherwise than before.
_VERSION = 3


def run(config: DataConfig, dataset: PathLike) -> None:
    """Reads all of ``config.sources`` into DATASET/corpus/ingested; bad pieces into DATASET/corpus/quarantine.

    Raises:
      DataError: a source's path is not there, or no source holds a readable document.
    """
    units = _all_units(config)
    dataset = as_path(dataset)
    partitions = config.partitions or count_partitions(units)
    stage = engine.Stage(
        name="ingest",
        folders=(dataset / QUARANTINED, dataset / INGESTED),
        digest=engine.digest("ingest", [_VERSION, partitions, [_fingerprint(unit) for unit in units]]),
        runner=config.runner,
    )
    jobs = dict(zip(engine.partition_names(partitions), share_out(units, partitions), strict=True))
    engine.make_partitions(stage, read_units, jobs, sum(unit.size_bytes for unit in units))
    _refuse_empty(dataset / INGESTED, dataset / QUARANTINED, list(jobs))


def _all_units(config: DataConfig) -> list[Unit]:
    """The units of all sources; a file that several sources name belongs to the first of them."""
    units: dict[str, Unit] = {}
    for source in config.sources:
        for unit in machine_units(source) if source.path == "machine" else files_of(source):
            place = unit.file if storage.is_remote(unit.file) else os.path.abspath(unit.file)
            units.setdefault(place, unit)
    return list(units.values())


def _fingerprint(unit: Unit) -> dict[str, object]:
    """What tells whether input has changed, without reading it."""
    said = asdict(unit)
    for name in ("path", "name"):  # how a file was found doesn't change what it holds
        del said["options"][name]
    return {**said, "file": storage.shown(unit.file)}


def read_units(units: list[Unit]) -> tuple[pa.Table, pa.Table]:
    """Quarantine and documents of one partition, in the units' order."""
    # Columns, not a dict for each row: half the memory, and half the time to make a table of them.
    documents: dict[str, list[Any]] = {name: [] for name in DOCUMENT.names}
    quarantine: dict[str, list[Any]] = {name: [] for name in QUARANTINE.names}
    for unit in units:
        file = storage.shown(unit.file)
        for row in read(unit):
            if isinstance(row, Bad):
                _append(quarantine, (file, row.number, row.reason, row.sample))
            else:
                _append(documents, _document(row, unit))
    return pa.table(quarantine, schema=QUARANTINE), pa.table(documents, schema=DOCUMENT)


def _append(columns: dict[str, list[Any]], cells: tuple[Any, ...]) -> None:
    for column, cell in zip(columns.values(), cells, strict=True):
        column.append(cell)


def _document(row: Row, unit: Unit) -> tuple[str | None, ...]:
    """The cells of a document: a row's own labels before its unit's before what its text shows."""
    source = row.source or unit.source
    language = row.language or identify(row.text)
    by_content = "code" if unit.kind == "code" else domain_of(language)
    domain = row.domain or (unit.domain if unit.domain != "auto" else by_content)
    return document_id(source, row.text), row.text, source, domain, language, _metadata(row)


def _metadata(row: Row) -> str | None:
    """What came with a text, as JSON; None: nothing did."""
    if not row.metadata:
        return None
    try:
        return orjson.dumps(row.metadata).decode()
    except TypeError:  # numbers beyond 64 bits
        return json.dumps(row.metadata, ensure_ascii=False)


def document_id(source: str, text: str) -> str:
    """The 128-bit BLAKE2b digest of a source's name and the text, in hex: the same wherever and whenever it's read."""
    return hashlib.blake2b(f"{source}\0{text}".encode(), digest_size=16).hexdigest()


def _refuse_empty(ingested: PathLike, quarantined: PathLike, names: list[str]) -> None:
    if any(engine.read_partition(as_path(ingested) / name, ["id"]).num_rows for name in names):
        return
    num_bad, first = 0, {}
    for name in names:
        bad = engine.read_partition(as_path(quarantined) / name)
        num_bad += bad.num_rows
        first = first or next(iter(bad.slice(0, 1).to_pylist()), {})
    if not first:
        raise DataError("config.sources: the files hold no rows at all")
    where = f"{first['file']}, row {first['row']}: {first['reason']}"
    raise DataError(f"no document in config.sources; first of {num_bad:,} bad pieces: {where}; all in {quarantined}")
