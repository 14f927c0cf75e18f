"""Parquet files as rows, read batch by batch."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.ingest.row import MAX_COLUMNS, Bad, Row, row_of, sample, wanted_columns
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.units import Unit

_BATCH_BYTES = 1 << 25  # of a batch's text, by the file's own account
_MAX_UNPACKED = 1 << 30  # of a Parquet file within another packing
_BUFFER_BYTES = 1 << 20  # of a column are read at a time, however large its row group


def read_parquet(unit: Unit) -> Iterator[Row | Bad]:
    """The rows of a Parquet file, or those from row `start` up to `end` of it."""
    with open_bytes(unit.file) as stream:
        if Path(unit.file).suffix.lower() == ".parquet":
            yield from _rows(stream, unit)
            return
        # pq seeks about in the file, which a stream being unpacked can't do cheaply.
        raw = stream.read(_MAX_UNPACKED + 1)
    if len(raw) > _MAX_UNPACKED:
        yield Bad(0, "row_too_long", f"more than {_MAX_UNPACKED:,} bytes unpacked; Parquet packs its own columns")
    else:
        yield from _rows(io.BytesIO(raw), unit)


def _rows(stream: io.BufferedIOBase, unit: Unit) -> Iterator[Row | Bad]:
    file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    names = file.schema_arrow.names
    if len(names) > MAX_COLUMNS:
        yield Bad(0, "too_many_columns", f"{len(names):,} columns; at most {MAX_COLUMNS:,}")
        return
    shown = sample(f"columns: {', '.join(names)}")
    for number, batch in _batches(file, unit, wanted_columns(unit.options, names)):
        for i, value in enumerate(_values(batch)):
            if (number + i) % unit.step != unit.first:
                continue
            if isinstance(value, str):
                yield Bad(number + i, "invalid_utf8", value)
            else:
                yield row_of(value, number + i, unit.options, lambda: shown)


def _batches(file: pq.ParquetFile, unit: Unit, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The unit's rows in batches of bounded size, each with its first row's number; other row groups aren't read."""
    number = 0
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        end = unit.end or file.metadata.num_rows
        if number + about.num_rows <= unit.start or number >= end:
            number += about.num_rows
            continue
        size = max(1, min(10_000, _BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1)))
        for batch in file.iter_batches(size, [group], columns, use_threads=False):
            first, last = max(unit.start - number, 0), min(end - number, batch.num_rows)
            if first < last:
                yield number + first, batch.slice(first, last - first)
            number += batch.num_rows


def _values(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """Each row as a dict, or, where its strings are none, what can be shown of it."""
    columns = [_readable(column) for column in batch.columns]
    try:
        lists = [column.to_pylist() for column in columns]
    except UnicodeDecodeError:  # Parquet writers other than Arrow don't check their strings
        for i in range(batch.num_rows):
            try:
                yield {name: column[i].as_py() for name, column in zip(batch.schema.names, columns, strict=True)}
            except UnicodeDecodeError as error:
                yield sample(error.object.decode(errors="backslashreplace"))
        return
    for cells in zip(*lists, strict=True):
        yield dict(zip(batch.schema.names, cells, strict=True))


def _readable(column: pa.Array) -> pa.Array:
    """Dates and times as text: Python's own can't hold nanoseconds."""
    is_time = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type) or pa.types.is_time(column.type)
    return column.cast(pa.string()) if is_time else column
