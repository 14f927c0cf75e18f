"""The reader of each kind of input, and the guard around them: what can't be read comes out too, with its reason."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from data_pipeline.ingest import storage
from data_pipeline.ingest.archives import read_warc
from data_pipeline.ingest.delimited import read_csv
from data_pipeline.ingest.json_rows import lines_before, read_json, read_jsonl
from data_pipeline.ingest.machine import MACHINE_READERS
from data_pipeline.ingest.pages import read_html
from data_pipeline.ingest.parquet import read_parquet
from data_pipeline.ingest.row import Bad, Row, has_lone_surrogate, sample
from data_pipeline.ingest.text import read_code, read_text
from data_pipeline.ingest.units import UNKNOWN, Unit

READERS: dict[str, Callable[[Unit], Iterator[Row | Bad]]] = {
    "text": read_text,
    "code": read_code,
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "html": read_html,
    "warc": read_warc,
    **MACHINE_READERS,
}


def read(unit: Unit) -> Iterator[Row | Bad]:
    """All rows of a unit, and a Bad for each piece of it that can't become a document.

    Raises:
      DataError: reading fails for a reason that isn't the file's own.
    """
    if unit.kind == UNKNOWN:
        yield Bad(0, "unknown_file_type", sample(storage.shown(Path(unit.file).name)))
        return
    number, is_first = -1, unit.first == 0 and unit.start == 0  # what concerns the file is said by its first share
    try:
        if unit.fault:
            yield Bad(0, "unreadable", sample(unit.fault))
            return
        if fault := _refusal(unit):
            if is_first:
                yield fault
            return
        before = None  # rows, where a reader counts from its share's beginning
        for row in READERS[unit.kind](unit):
            number = row.number
            row = _checked(row, unit)
            if isinstance(row, Bad) and unit.kind == "jsonl" and unit.start:
                before = lines_before(unit) if before is None else before
                row = replace(row, number=row.number + before)
            yield row
    except FileNotFoundError as error:
        if is_first:
            yield Bad(0, "unreadable", sample(error.strerror or str(error)))
    except (pa.ArrowException, *storage.DAMAGED) as error:
        if is_first:
            own = isinstance(error, OSError) and error.errno in storage.OWN_FAULTS
            yield Bad(number + 1, "unreadable" if own else "damaged_file", sample(" ".join(str(error).split())))
    else:
        if number < 0 and is_first and unit.step == 1 and not unit.end:
            yield Bad(0, "no_rows", "")


def _refusal(unit: Unit) -> Bad | None:
    """What keeps a whole file from being read as its name asks."""
    status = storage.describe(unit.file)
    if status.fault:
        return Bad(0, "unreadable", sample(status.fault))
    if not status.size_bytes:
        return Bad(0, "empty_file", "")
    if other := storage.disguise(unit.file):
        return Bad(0, "wrong_file_type", f"begins as a {other} file does: rename it")
    return None


def _checked(row: Row | Bad, unit: Unit) -> Row | Bad:
    """A row, unless its text is none or too long."""
    if isinstance(row, Bad):
        return row
    text = row.text
    if not text or text.isspace():
        return Bad(row.number, "empty_text", "")
    if "\0" in text:  # another encoding, or no text: databases and tokenizers alike stumble over it
        return Bad(row.number, "nul_in_text", sample(text.replace("\0", "\\0")))
    if any(isinstance(said, str) and has_lone_surrogate(said) for pair in row.metadata.items() for said in pair):
        return Bad(row.number, "invalid_unicode", sample(str(dict(row.metadata))))
    limit = unit.options.max_row_bytes
    if 4 * len(text) > limit and len(text.encode()) > limit:
        return Bad(row.number, "row_too_long", f"more than {limit:,} bytes")
    return row
