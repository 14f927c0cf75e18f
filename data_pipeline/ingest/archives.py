"""WARC (ISO 28500) and its WET extracts, as Common Crawl publishes them, read by FastWARC."""

import io
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from data_pipeline.ingest.lines import Kept, chunks_of
from data_pipeline.ingest.pages import page, page_text
from data_pipeline.ingest.row import Bad, Row, plain_metadata, sample
from data_pipeline.ingest.storage import open_bytes
from data_pipeline.ingest.text import with_newlines
from data_pipeline.ingest.units import Unit

_HTML = {"text/html", "application/xhtml+xml"}


def read_warc(unit: Unit) -> Iterator[Row | Bad]:
    """The pages of a WARC's responses, and the texts of a WET's conversions; their numbers count such records.

    Answers other than 200 and content other than HTML and plain text are counted by type, in one piece for each.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    skipped: Counter[str] = Counter()
    kinds = WarcRecordType.response | WarcRecordType.conversion | WarcRecordType.resource
    number = -1
    with open_bytes(unit.file) as packed:
        stream = Kept(chunks_of(packed))
        # HTTP is parsed record by record: one that lies about its packing would end the whole iteration.
        for number, record in enumerate(ArchiveIterator(cast(Any, stream), record_types=kinds, parse_http=False)):
            if number % unit.step == unit.first:
                row = _document(record, number, unit)
                if isinstance(row, str):
                    skipped[row] += 1
                elif stream.error is None or isinstance(row, Row) or row.reason != "damaged_file":
                    yield row
        for what, count in sorted(skipped.items()):
            yield Bad(number + 1, "not_a_page", f"{count:,} records: {what}")
        if stream.error is not None:
            raise stream.error


def _document(record: Any, number: int, unit: Unit) -> Row | Bad | str:
    """A record's row; for one that is no page, what it is."""
    limit = unit.options.max_row_bytes
    size_bytes = record.content_length
    about = {"url": record.headers.get("WARC-Target-URI", "").strip("<>"), "date": record.headers.get("WARC-Date")}
    if size_bytes > limit:
        return Bad(number, "row_too_long", f"{size_bytes:,} bytes: {sample(about['url'])}")
    content_type, charset = record.headers.get("Content-Type", ""), ""
    whole: bytes = record.reader.read(size_bytes)
    if len(whole) < size_bytes:
        return Bad(number, "damaged_file", f"ends within a record: {sample(about['url'])}")
    if content_type.startswith("application/http"):
        answer = _http(whole, limit)
        if isinstance(answer, str):
            return answer
        whole, content_type, charset = answer
        if len(whole) > limit:
            return Bad(number, "row_too_long", f"more than {limit:,} bytes unpacked: {sample(about['url'])}")
    media = content_type.partition(";")[0].strip().lower()
    about["content_type"] = media
    if media in _HTML:
        return page(whole, number, unit, charset or unit.options.encoding, about)
    if media != "text/plain":
        return sample(media or "no content type")
    languages = record.headers.get("WARC-Identified-Content-Language")
    text = page_text(whole, charset or unit.options.encoding)
    if isinstance(text, Bad):
        return Bad(number, text.reason, text.sample)
    said = {"languages": languages, **about}
    metadata = plain_metadata({key: value for key, value in said.items() if value}, unit.options)
    return Row(number, with_newlines(text), metadata=metadata)


def _http(whole: bytes, limit: int) -> tuple[bytes, str, str] | str:
    """The body, the content type and the charset of an answer; or what it is instead of a page."""
    from fastwarc.warc import ArchiveIterator

    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n"
    alone = head % len(whole) + whole
    for decode in ("all", "none"):  # "none": where an answer isn't packed as it says, it mostly isn't packed at all
        try:
            for record in ArchiveIterator(io.BytesIO(alone), auto_decode=decode):
                if record.http_headers is None or not record.http_headers.status_code:
                    return "no HTTP"
                if record.http_headers.status_code != 200:
                    return f"HTTP status {record.http_headers.status_code}"
                body = record.reader.read(limit + 1)
                return body, record.http_content_type or "", record.http_charset or ""
        except OSError:
            continue
    return "no HTTP"
