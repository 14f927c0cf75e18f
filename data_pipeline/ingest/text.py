"""Prose and source code: a document a file, or a document from one separator to the next."""

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any, cast

import yaml

from data_pipeline.ingest import encodings
from data_pipeline.ingest.lines import as_utf8, chunks_of, is_utf8
from data_pipeline.ingest.row import Bad, Row, plain_metadata, sample
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.units import CODE_SUFFIXES, Unit, plain_suffix

_MARKDOWN = {".md", ".mdx"}
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")
_OVERLAP = 1000  # characters kept of a piece that is too long, so that a separator cut in two is still found
_NO_TEXT = re.compile("[\ud800-\udfff]")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.{0,20000}?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)


def read_text(unit: Unit) -> Iterator[Row | Bad]:
    """A file of prose as one row, or several as its source's `split` says. Line ends become newlines.

    A Markdown file's front matter is its metadata, no text.
    """
    if unit.options.split:
        yield from _pieces(unit)
        return
    limit = unit.options.max_row_bytes
    with open_bytes(unit.file) as stream:
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        yield Bad(0, "row_too_long", f"more than {limit:,} bytes: split it, or raise max_row_bytes")
        return
    text = decode(raw, unit.options.encoding)
    if isinstance(text, Bad):
        yield text
        return
    text = with_newlines(text)
    metadata: dict[str, Any] = {}
    if unit.options.metadata and text.startswith("---") and plain_suffix(unit.file) in _MARKDOWN:
        text, metadata = _without_front_matter(text, unit)
    yield Row(0, text, metadata=metadata)


def read_code(unit: Unit) -> Iterator[Row | Bad]:
    """A source file as one row, its language told by its name."""
    limit = unit.options.max_row_bytes
    with open_bytes(unit.file) as stream:
        raw = stream.read(limit + 1)
    text = (
        Bad(0, "row_too_long", f"more than {limit:,} bytes") if len(raw) > limit else decode(raw, unit.options.encoding)
    )
    if isinstance(text, Bad):
        yield text
    else:
        yield Row(0, with_newlines(text), language=CODE_SUFFIXES.get(plain_suffix(unit.file), ""))


def decode(raw: bytes, encoding: str = "") -> str | Bad:
    """The text of a whole file in `encoding`, or, where that is "", in the one that it shows beyond doubt."""
    name = encodings.by_mark(raw) or encoding or "utf-8"
    try:
        return raw.decode(name)
    except UnicodeDecodeError as error:
        if is_utf8(name) and not encoding and (guessed := encodings.guess(raw)):
            text = raw.decode(guessed, errors="replace")
            if "\ufffd" not in text:
                return text
        around = raw[max(0, error.start - 20) : error.start + 40].decode(errors="backslashreplace")
        reason = "invalid_utf8" if is_utf8(name) else "invalid_encoding"
        return Bad(0, reason, f"at byte {error.start}: {sample(around)}")


def with_newlines(text: str) -> str:
    """Windows' and old Macs' line ends as newlines."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _pieces(unit: Unit) -> Iterator[Row | Bad]:
    """What stands between separators, in bounded memory; pieces of nothing but white space are none."""
    split, limit = unit.options.split, unit.options.max_row_bytes
    separator = _BLANK_LINES if split == "blank_lines" else re.compile(re.escape(split))
    with open_bytes(unit.file) as stream:
        _, chunks = as_utf8(chunks_of(stream), unit.options.encoding, guess=True)
        number = 0
        for piece in _split_stream(chunks, separator, limit):
            if piece is not None and (not piece or piece.isspace()):
                continue
            if number % unit.step == unit.first:
                if piece is None:
                    yield Bad(number, "row_too_long", f"more than {limit:,} bytes")
                elif _NO_TEXT.search(piece):
                    yield Bad(number, "invalid_utf8", sample(piece))
                else:
                    yield Row(number, piece.strip("\n"))
            number += 1


def _split_stream(chunks: Iterator[bytes], separator: re.Pattern[str], limit: int) -> Iterator[str | None]:
    """Pieces of a stream of UTF-8; None for one of more than `limit` characters."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
    newlines = io.IncrementalNewlineDecoder(cast(Any, decoder), translate=True)
    held, is_long = "", False
    for chunk in chunks:
        # The chunk's end may cut a separator, or a run of blank lines: the last piece is never sure.
        *pieces, held = separator.split(held + newlines.decode(chunk))
        for piece in pieces:
            yield None if is_long else piece
            is_long = False
        if len(held) > limit:
            held, is_long = held[-_OVERLAP:], True
    yield None if is_long else held + newlines.decode(b"", final=True)


def _without_front_matter(text: str, unit: Unit) -> tuple[str, dict[str, Any]]:
    """The text behind a YAML block between lines of three dashes, and the plain values in it (Jekyll, Hugo, Pandoc)."""
    match = _FRONT_MATTER.match(text)
    try:
        values = yaml.load(match[1], _LOADER) if match else None
    except (yaml.YAMLError, ValueError, RecursionError):  # no YAML: a rule of dashes, then text
        return text, {}
    if not match or not isinstance(values, dict):
        return text, {}
    found = {str(key): value for key, value in values.items()}
    return text[match.end() :].lstrip("\n"), plain_metadata(found, unit.options)
