import gzip

import pytest

from data_pipeline.config import SourceConfig
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Bad, Row
from data_pipeline.ingest.units import Unit

PAGE = "<html><head><title> A  page </title></head><body><nav>Home</nav><article><p>{}</p></article></body></html>"


def record(kind, uri, body, content_type="application/http; msgtype=response", **headers):
    lines = {"WARC-Type": kind, "WARC-Target-URI": uri, "WARC-Date": "2024-05-01T00:00:00Z", **headers}
    lines |= {"Content-Type": content_type, "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return b"WARC/1.0\r\n" + head.encode() + b"\r\n" + body + b"\r\n\r\n"


def answer(body, content_type="text/html", status=200, **headers):
    lines = {"Content-Type": content_type, **headers}
    head = f"HTTP/1.1 {status} OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode() + b"\r\n" + body


def write(path, *records, packed=None):
    packed = path.suffix == ".gz" if packed is None else packed
    path.write_bytes(b"".join(gzip.compress(r) if packed else r for r in records))


def rows(path, **options):
    fields = {name: options.pop(name) for name in ("first", "step") if name in options}
    return list(read(Unit(str(path), "warc", "s", options=SourceConfig(**options), **fields)))


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_a_response_is_its_pages_main_content(tmp_path, name):
    info = record("warcinfo", "", b"software: x", "application/warc-fields")
    page = record("response", "http://x.org/1", answer(PAGE.format("The text.").encode()))
    write(tmp_path / name, info, record("request", "http://x.org/1", b"GET / HTTP/1.1\r\n\r\n"), page)
    about = {"url": "http://x.org/1", "date": "2024-05-01T00:00:00Z", "content_type": "text/html"}
    assert rows(tmp_path / name) == [Row(0, "The text.", metadata={"title": "A page", **about})]
    assert rows(tmp_path / name, metadata=("url",)) == [Row(0, "The text.", metadata={"url": "http://x.org/1"})]


def test_a_conversion_is_its_text(tmp_path):
    text = "第一段。\n第二段。"
    languages = {"WARC-Identified-Content-Language": "zho"}
    write(tmp_path / "a.wet.gz", record("conversion", "http://x.cn/", text.encode(), "text/plain", **languages))
    [row] = rows(tmp_path / "a.wet.gz")
    assert (row.text, row.metadata["url"], row.metadata["languages"]) == (text, "http://x.cn/", "zho")


def test_what_is_no_page_is_counted_by_type(tmp_path):
    write(
        tmp_path / "a.warc.gz",
        record("response", "http://x/1.png", answer(b"\x89PNG", "image/png")),
        record("response", "http://x/2.png", answer(b"\x89PNG", "image/png")),
        record("response", "http://x/gone", answer(b"<p>not found", status=404)),
        record("response", "http://x/a", answer(b"<p>A page that stays.")),
        record("response", "http://x/b", b"no HTTP at all"),
    )
    row, *bad = rows(tmp_path / "a.warc.gz")
    assert row.text == "A page that stays."
    assert bad == [
        Bad(5, "not_a_page", "1 records: HTTP status 404"),
        Bad(5, "not_a_page", "2 records: image/png"),
        Bad(5, "not_a_page", "1 records: no HTTP"),
    ]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(PAGE.format("Packed.").encode(), mtime=0), {"Content-Encoding": "gzip"}),
        (PAGE.format("Packed.").encode(), {"Content-Encoding": "gzip"}),  # a lie that servers tell
        (PAGE.format("Packed.").encode(), {"X-Crawl-Content-Encoding": "br"}),  # unpacked by the crawler
    ],
)
def test_packed_answers(tmp_path, body, headers):
    other = record("response", "http://x/2", answer(PAGE.format("Another.").encode()))
    write(tmp_path / "a.warc.gz", record("response", "http://x/1", answer(body, **headers)), other)
    assert [row.text for row in rows(tmp_path / "a.warc.gz")] == ["Packed.", "Another."]


def test_the_charset_that_the_server_sends_counts(tmp_path):
    page = answer(PAGE.format("中文网页的内容。").encode("gb18030"), "text/html; charset=gb2312")
    write(tmp_path / "a.warc.gz", record("response", "http://x/1", page))
    assert [row.text for row in rows(tmp_path / "a.warc.gz")] == ["中文网页的内容。"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_that_ends_within_a_record(tmp_path, packed):
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    pages = [record("response", f"http://x/{i}", answer(PAGE.format("word " * 500).encode())) for i in range(3)]
    write(path, *pages)
    path.write_bytes(path.read_bytes()[: -50 if packed else -1000])
    *whole, last = rows(path)
    assert [row.number for row in whole if isinstance(row, Row)] == [0, 1]
    assert last.reason == "damaged_file"


def test_a_record_of_more_than_the_limit_is_set_aside_and_the_next_is_read(tmp_path):
    long = record("response", "http://x/1", answer(b"x" * 5000))
    bomb = answer(gzip.compress(b"x" * 100_000), **{"Content-Encoding": "gzip"})
    after = record("response", "http://x/3", answer(PAGE.format("After.").encode()))
    write(tmp_path / "a.warc.gz", long, record("response", "http://x/2", bomb), after)
    first, second, third = rows(tmp_path / "a.warc.gz", max_row_bytes=4000)
    assert (first.reason, second.reason, third.text) == ("row_too_long", "row_too_long", "After.")


def test_shares_make_the_archive(tmp_path):
    pages = [record("response", f"http://x/{i}", answer(PAGE.format(f"Page {i}.").encode())) for i in range(7)]
    write(tmp_path / "a.warc.gz", *pages)
    shares = [rows(tmp_path / "a.warc.gz", first=i, step=3) for i in range(3)]
    assert [row.text for row in shares[1]] == ["Page 1.", "Page 4."]
    assert sorted(row.number for share in shares for row in share) == list(range(7))
