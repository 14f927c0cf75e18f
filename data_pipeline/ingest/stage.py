"""Ingestion: every source through its reader into immutable documents; what can't be read goes to quarantine."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from data_pipeline import engine
from data_pipeline.config import DataConfig
from data_pipeline.document import DOCUMENT, INGESTED, QUARANTINE, QUARANTINED
from data_pipeline.ingest import readers
from data_pipeline.ingest.language import identify
from data_pipeline.ingest.machine import MACHINE_READERS, machine_units
from data_pipeline.ingest.readers import Bad, Row
from data_pipeline.ingest.units import Unit, files_of, share_out
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

READERS: dict[str, Callable[[Unit], Iterator[Row | Bad]]] = {
    "text": readers.read_text,
    "code": readers.read_code,
    "jsonl": readers.read_jsonl,
    "json": readers.read_json,
    "parquet": readers.read_parquet,
    "unknown": readers.read_unknown,
    **MACHINE_READERS,
}
# Counts with the parameters into the stage's digest: raise it when documents come out otherwise than before.
_VERSION = 1


def run(config: DataConfig, dataset: PathLike) -> None:
    """Reads all of ``config.sources`` into DATASET/corpus/ingested; bad pieces into DATASET/corpus/quarantine.

    Raises:
      DataError: a source's path is not there, or no source holds a readable document.
    """
    units = _all_units(config)
    dataset = as_path(dataset)
    shares = share_out(units, config.partitions)
    stage = engine.Stage(
        name="ingest",
        folders=(dataset / QUARANTINED, dataset / INGESTED),
        digest=engine.digest("ingest", [_VERSION, config.partitions, _fingerprint(units)]),
        runner=config.runner,
    )
    jobs = dict(zip(engine.partition_names(config.partitions), shares, strict=True))
    engine.make_partitions(stage, read_units, jobs, sum(unit.size_bytes for unit in units))
    _refuse_empty(dataset / INGESTED, dataset / QUARANTINED, list(jobs))


def _all_units(config: DataConfig) -> list[Unit]:
    """The units of all sources; a file that several sources name belongs to the first of them."""
    units: dict[str, Unit] = {}
    for source in config.sources:
        for unit in machine_units(source) if source.path == "machine" else files_of(source):
            units.setdefault(str(Path(unit.file).absolute()), unit)
    return list(units.values())


def _fingerprint(units: list[Unit]) -> list[object]:
    """What tells whether input has changed, without reading it."""
    return [[asdict(unit), Path(unit.file).stat().st_mtime_ns] for unit in units]


def read_units(units: list[Unit]) -> tuple[pa.Table, pa.Table]:
    """Quarantine and documents of one partition, in the units' order."""
    documents: list[dict[str, str | None]] = []
    quarantine: list[dict[str, str | int]] = []
    for unit in units:
        for row in READERS[unit.kind](unit):
            if isinstance(row, Row) and not row.text.strip():
                row = Bad(row.number, "empty_text", "")
            if isinstance(row, Bad):
                quarantine.append({"file": unit.file, "row": row.number, "reason": row.reason, "sample": row.sample})
            else:
                documents.append(_document(row, unit))
    return (
        pa.Table.from_pylist(quarantine, schema=QUARANTINE),
        pa.Table.from_pylist(documents, schema=DOCUMENT),
    )


def _document(row: Row, unit: Unit) -> dict[str, str | None]:
    """A row with its labels: its own before its unit's before what its text shows."""
    source = row.source or unit.source
    language = row.language or identify(row.text)
    by_content = "code" if unit.kind == "code" else language
    domain = row.domain or (unit.domain if unit.domain != "auto" else by_content)
    return {
        "id": document_id(source, row.text),
        "text": row.text,
        "source": source,
        "domain": domain,
        "language": language,
        "metadata": None,
    }


def document_id(source: str, text: str) -> str:
    """The 128-bit BLAKE2b digest of a source's name and the text, in hex: the same wherever and whenever it's read."""
    return hashlib.blake2b(f"{source}\0{text}".encode(), digest_size=16).hexdigest()


def _refuse_empty(ingested: PathLike, quarantined: PathLike, names: list[str]) -> None:
    if any(engine.read_partition(as_path(ingested) / name, ["id"]).num_rows for name in names):
        return
    bad = [row for name in names for row in engine.read_partition(as_path(quarantined) / name).to_pylist()]
    if not bad:
        raise DataError("config.sources: the files hold no rows at all")
    first = f"{bad[0]['file']}, row {bad[0]['row']}: {bad[0]['reason']}"
    raise DataError(f"no document in config.sources; first of {len(bad)} bad pieces: {first}; all in {quarantined}")
