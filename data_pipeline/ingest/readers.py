"""Readers: a unit of input in, rows of text out; whatever can't be read comes out too, with its reason."""

import bz2
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.ingest.units import CODE_SUFFIXES, Unit, plain_suffix

TEXT_KEYS = ("text", "content", "completion")  # looked for in this order where a source names none
_OWN_KEYS = ("source", "domain", "language")  # columns that a row may bring along
_DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error)
_SAMPLE_CHARACTERS = 80


@dataclass(frozen=True)
class Row:
    """A text, and what its row says about it ("" where it says nothing)."""

    number: int  # in its file, from 0
    text: str
    source: str = ""
    domain: str = ""
    language: str = ""


@dataclass(frozen=True)
class Bad:
    """A piece of input that can't become a document, and why."""

    number: int
    reason: str
    sample: str


def open_bytes(file: str) -> BinaryIO:
    """Opens a file for reading, unpacked as its last suffix says."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    suffix = Path(file).suffix.lower()
    if suffix == ".zst":
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(pa.OSFile(file), "zstd")))
    return openers.get(suffix, open)(file, "rb")


def read_text(unit: Unit) -> Iterator[Row | Bad]:
    """A file of prose as one row. Line ends become newlines, and a byte-order mark is no text."""
    try:
        with open_bytes(unit.file) as stream:
            raw = stream.read()
    except _DAMAGED as error:
        yield Bad(0, "damaged_file", str(error))
        return
    text = _decode(raw, 0)
    if isinstance(text, Bad):
        yield text
    else:
        yield Row(0, text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"))


def read_code(unit: Unit) -> Iterator[Row | Bad]:
    """A source file as one row, its language told by its name."""
    for row in read_text(unit):
        if isinstance(row, Row):
            yield Row(0, row.text, language=CODE_SUFFIXES[plain_suffix(unit.file)])
        else:
            yield row


def read_jsonl(unit: Unit) -> Iterator[Row | Bad]:
    """One JSON object a line; blank lines are no rows."""
    number = -1
    try:
        with open_bytes(unit.file) as stream:
            for number, line in enumerate(stream):
                if number % unit.step == unit.first and line.strip():
                    yield _parse_line(line, number, unit)
    except _DAMAGED as error:
        if unit.first == 0:  # once for the file, not once a share of it
            yield Bad(number + 1, "damaged_file", str(error))


def _parse_line(line: bytes, number: int, unit: Unit) -> Row | Bad:
    text = _decode(line, number)
    if isinstance(text, Bad):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Bad(number, "not_json", _sample(text))
    return _row_of(value, number, unit.text_key, _sample(text))


def read_json(unit: Unit) -> Iterator[Row | Bad]:
    """A list of objects, or one object; many files so named hold an object a line, and are read so."""
    try:
        with open_bytes(unit.file) as stream:
            value = json.loads(stream.read().decode("utf-8-sig"))
    except (ValueError, RecursionError, *_DAMAGED):
        yield from read_jsonl(unit)
        return
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        if number % unit.step == unit.first:
            yield _row_of(item, number, unit.text_key, _sample(str(item)))


def read_parquet(unit: Unit) -> Iterator[Row | Bad]:
    """The rows of a Parquet file."""
    try:
        with open_bytes(unit.file) as stream:
            # pq seeks about in the file, which a stream being unpacked can't do cheaply.
            whole = pq.ParquetFile(stream if Path(unit.file).suffix == ".parquet" else io.BytesIO(stream.read()))
            number = 0
            for batch in whole.iter_batches(use_threads=False):
                for i in range(-(number - unit.first) % unit.step, batch.num_rows, unit.step):
                    yield _parquet_row(batch, i, number + i, unit)
                number += batch.num_rows
    except (pa.ArrowException, *_DAMAGED) as error:
        if unit.first == 0:
            yield Bad(0, "damaged_file", str(error))


def _parquet_row(batch: pa.RecordBatch, i: int, number: int, unit: Unit) -> Row | Bad:
    wanted = {*(unit.text_key.split(",") if unit.text_key else TEXT_KEYS), *_OWN_KEYS}
    try:
        value = {name: batch.column(name)[i].as_py() for name in batch.schema.names if name in wanted}
    except UnicodeDecodeError as error:  # Parquet writers other than Arrow don't check their strings
        return Bad(number, "invalid_utf8", _sample(error.object.decode(errors="backslashreplace")))
    return _row_of(value, number, unit.text_key, f"columns: {', '.join(batch.schema.names)}")


def read_unknown(unit: Unit) -> Iterator[Row | Bad]:
    """A file of a type that nothing here reads: counted, not opened."""
    yield Bad(0, "unknown_file_type", Path(unit.file).name)


def _row_of(value: Any, number: int, text_key: str, sample: str) -> Row | Bad:
    """The text that a row holds under `text_key` (several keys with commas are joined), with its own labels."""
    if not isinstance(value, dict):
        return Bad(number, "not_an_object", sample)
    keys = text_key.split(",") if text_key else [key for key in TEXT_KEYS if value.get(key) is not None][:1]
    texts = [value.get(key) for key in keys]
    if not texts or any(text is None for text in texts):
        return Bad(number, "no_text", sample)
    joined = []
    for text in texts:
        if isinstance(text, list) and all(isinstance(line, str) for line in text):
            text = "\n".join(text)
        if not isinstance(text, str):
            return Bad(number, "text_is_no_string", sample)
        joined.append(text)
    own = {key: value[key] for key in _OWN_KEYS if isinstance(value.get(key), str)}
    text = "\n\n".join(joined)
    if _has_lone_surrogate(text + "".join(own.values())):
        return Bad(number, "invalid_unicode", sample.encode(errors="backslashreplace").decode())
    return Row(number, text, **own)


def _has_lone_surrogate(text: str) -> bool:
    """Whether JSON's escapes made half a character of, say, an emoji, which no UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _decode(raw: bytes, number: int) -> str | Bad:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        around = raw[max(0, error.start - 20) : error.start + 40].decode(errors="backslashreplace")
        return Bad(number, "invalid_utf8", f"at byte {error.start}: {_sample(around)}")


def _sample(text: str) -> str:
    return text.strip()[:_SAMPLE_CHARACTERS].encode(errors="backslashreplace").decode()
