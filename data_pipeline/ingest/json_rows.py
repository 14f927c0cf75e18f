"""JSON lines and JSON lists as rows."""

import codecs
import json
from collections.abc import Iterator
from functools import partial
from io import BufferedIOBase
from typing import Any

import orjson

from data_pipeline.ingest.lines import Kept, as_utf8, chunks_of, lines_of
from data_pipeline.ingest.row import Bad, Row, row_of, sample
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.units import Unit

_WHOLE_BYTES = 1 << 26  # JSON files of up to this size are parsed at once, several times faster than piece by piece
_BETWEEN = " \t\r\n,"


def read_jsonl(unit: Unit) -> Iterator[Row | Bad]:
    """One JSON object a line; blank lines are no rows.

    A share reads the lines that begin in its bytes, and numbers them from 0: see `lines_before`.
    """
    with open_bytes(unit.file) as stream:
        size_bytes = _seek_lines(stream, unit) if unit.end else -1
        _, chunks = as_utf8(chunks_of(stream, size_bytes), unit.options.encoding)
        for number, line in enumerate(lines_of(chunks, unit.options.max_row_bytes)):
            if unit.step > 1 and number % unit.step != unit.first:
                continue
            if (row := _parse_line(line, number, unit)) is not None:
                yield row


def _seek_lines(stream: BufferedIOBase, unit: Unit) -> int:
    """Goes to the first line that begins in the unit's bytes; gives how many bytes such lines take."""
    begin, end = _next_line(stream, unit.start), _next_line(stream, unit.end)
    stream.seek(begin)
    return end - begin


def _next_line(stream: BufferedIOBase, offset: int) -> int:
    """The place of the first line that begins at `offset` or after it."""
    if not offset:
        return 0
    stream.seek(offset - 1)
    place = offset - 1
    for chunk in chunks_of(stream):
        if (found := chunk.find(b"\n")) >= 0:
            return place + found + 1
        place += len(chunk)
    return place


def lines_before(unit: Unit) -> int:
    """The number of lines before a share's own: asked only for a bad one, which is to be found by its number."""
    with open_bytes(unit.file) as stream:
        begin = _next_line(stream, unit.start)
        stream.seek(0)
        return sum(chunk.count(b"\n") for chunk in chunks_of(stream, begin))


def _parse_line(line: bytes | None, number: int, unit: Unit) -> Row | Bad | None:
    if line is None:
        return Bad(number, "row_too_long", f"more than {unit.options.max_row_bytes:,} bytes")
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        if not line.strip():
            return None
        value = _parse_leniently(line, number)
        if isinstance(value, Bad):
            return value
    return row_of(value, number, unit.options, partial(line.decode, errors="backslashreplace"))


def _parse_leniently(line: bytes, number: int) -> Any:
    """A value that orjson refuses and Python's json reads (NaN, halves of characters, 2,000 brackets), or what's bad.

    Only strings in it can be of use, and those that no text can hold are found by whoever takes them.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        around = line[max(0, error.start - 20) : error.start + 40].decode(errors="backslashreplace")
        return Bad(number, "invalid_utf8", f"at byte {error.start}: {sample(around)}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Bad(number, "not_json", sample(text))


def read_json(unit: Unit) -> Iterator[Row | Bad]:
    """A list of objects, or one object; many files so named hold an object a line, and are read so."""
    with open_bytes(unit.file) as stream:
        kept = Kept(chunks_of(stream))
        _, chunks = as_utf8(kept, unit.options.encoding)
        head = _some_of(chunks, _WHOLE_BYTES + 1)
        values = _all_values(head) if len(head) <= _WHOLE_BYTES else None
        if values is None and not head.lstrip().startswith(b"["):
            yield from read_jsonl(unit)  # from its beginning: an object a line
            return
        for number, value in enumerate(_list_values(head, chunks, kept, unit) if values is None else values):
            if number % unit.step == unit.first:
                yield value if isinstance(value, Bad) else row_of(value, number, unit.options, partial(str, value))
        if kept.error is not None:
            raise kept.error


def _all_values(raw: bytes) -> list[Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else [value]


def _list_values(head: bytes, chunks: Iterator[bytes], kept: Kept, unit: Unit) -> Iterator[Any]:
    """The values of a JSON list one after the other; what stands before a damage is read, and the damage is one Bad."""
    decoder, scan = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape"), json.JSONDecoder().raw_decode
    text, place, number = decoder.decode(head).lstrip()[1:], 0, 0
    limit = max(unit.options.max_row_bytes, len(text))
    while True:
        while place < len(text) and text[place] in _BETWEEN:
            place += 1
        if text[place : place + 1] == "]":
            break
        try:
            value, end = scan(text, place)
            if end == len(text):  # half a number is a number too
                raise ValueError
        except (ValueError, RecursionError):
            more = _some_of(chunks, max(1 << 20, len(text) - place))
            if not more or len(text) - place > limit:
                if kept.error is None:
                    reason = "row_too_long" if more else "not_json"
                    yield Bad(number, reason, f"the list is not read from here on: {sample(text[place : place + 400])}")
                return
            text, place = text[place:] + decoder.decode(more), 0
            continue
        yield value
        number, place = number + 1, end


def _some_of(chunks: Iterator[bytes], at_least: int) -> bytes:
    taken: list[bytes] = []
    while sum(map(len, taken)) < at_least and (chunk := next(chunks, b"")):
        taken.append(chunk)
    return b"".join(taken)
