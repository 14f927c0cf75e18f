"""CSV and TSV as RFC 4180 has them: a header, quotes that are doubled inside quotes, rows of several lines."""

import csv
from collections.abc import Iterator

from data_pipeline.ingest.lines import as_utf8, chunks_of, lines_of
from data_pipeline.ingest.row import MAX_COLUMNS, Bad, Row, row_of, sample
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.units import Unit, plain_suffix

_DELIMITERS = ",;\t"


def read_csv(unit: Unit) -> Iterator[Row | Bad]:
    """The rows below the header; a row that lacks its last columns has them empty, one with more than them is bad.

    The delimiter is the tab in .tsv, elsewhere the one of comma, semicolon and tab that parts the header into most.
    """
    limit = unit.options.max_row_bytes
    csv.field_size_limit(limit)
    with open_bytes(unit.file) as stream:
        encoding, chunks = as_utf8(chunks_of(stream), unit.options.encoding, guess=True)
        lines = _Lines(lines_of(chunks, limit), limit)
        header, delimiter = _header(lines, unit)
        if isinstance(header, Bad):
            yield header
            return
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        number = -1
        while True:
            lines.begin()
            try:
                cells = next(rows)
            except StopIteration:
                return
            except _TooLong:
                cells = Bad(number + 1, "row_too_long", f"more than {limit:,} bytes")
            except csv.Error as error:
                cells = Bad(number + 1, "not_csv", f"{error}: {sample(lines.record())}")
            if not cells:  # a blank line
                continue
            number += 1
            if number % unit.step == unit.first:
                yield cells if isinstance(cells, Bad) else _row(header, cells, number, unit, encoding)


def _row(header: list[str], cells: list[str], number: int, unit: Unit, encoding: str) -> Row | Bad:
    if len(cells) > len(header):
        return Bad(number, "too_many_cells", f"{len(cells):,} for {len(header):,} columns: {sample(cells[0])}")
    value = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    row = row_of(value, number, unit.options, lambda: f"columns: {', '.join(header)}")
    if isinstance(row, Bad) and row.reason == "invalid_unicode":
        reason = "invalid_utf8" if encoding.startswith("utf-8") else "invalid_encoding"
        return Bad(number, reason, sample(" ".join(cells)))
    return row


def _header(lines: "_Lines", unit: Unit) -> tuple[list[str] | Bad, str]:
    """The names of the columns, and what stands between them."""
    try:
        lines.begin()
        first = next((line for line in lines if line.strip()), "")
    except _TooLong:
        return Bad(0, "row_too_long", f"its header has more than {unit.options.max_row_bytes:,} bytes"), ","
    if plain_suffix(unit.file) == ".tsv":
        delimiter = "\t"
    else:
        bare = "".join(first.split('"')[::2])  # outside of quotes
        delimiter = max(_DELIMITERS, key=bare.count)
    try:
        names = next(csv.reader([first], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        return Bad(0, "not_csv", f"header: {error}: {sample(first)}"), delimiter
    if len(names) > MAX_COLUMNS:
        return Bad(0, "too_many_columns", f"{len(names):,} columns; at most {MAX_COLUMNS:,}"), delimiter
    return [name.strip() for name in names], delimiter


class _TooLong(Exception):  # noqa: N818
    """A record of more bytes than are allowed; what follows it can be read."""


class _Lines:
    """The lines that csv.reader asks for, a record's bytes counted: an open quote could take all of a file."""

    def __init__(self, lines: Iterator[bytes | None], limit: int):
        self._lines, self._limit = lines, limit
        self._record: list[str] = []
        self._size_bytes = 0

    def begin(self) -> None:
        """A record begins with the next line."""
        self._record, self._size_bytes = [], 0

    def record(self) -> str:
        """The lines of the record so far."""
        return "".join(self._record)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if line is None:
            raise _TooLong
        self._size_bytes += len(line) + 1
        if self._size_bytes > self._limit:
            self._skip(line)
            raise _TooLong
        text = line.decode("utf-8", "surrogateescape") + "\n"
        self._record.append(text)
        return text

    def _skip(self, line: bytes | None) -> None:
        """Reads on to the end of the record: where the quotes in it are even."""
        quotes = sum(text.count('"') for text in self._record)
        while line is not None:
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                return
            line = next(self._lines, None)
