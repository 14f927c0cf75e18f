import pytest

from data_pipeline.config import SourceConfig
from data_pipeline.ingest.pages import page_text
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Row
from data_pipeline.ingest.units import Unit

PAGE = """<!doctype html><html><head><title>On the
 title</title><link rel="canonical" href="https://x.org/page"><style>p {color: red}</style></head>
<body><nav><a href="/">Home</a> <a href="/about">About</a></nav>
<div class="page"><div><main>
<h1>Heading</h1><p>A first paragraph of text &amp; more.</p><script>var x = 1;</script>
<ul><li>A first point.</li><li>A second point.</li></ul></main></div></div>
<footer>Copyright, all rights</footer></body></html>"""


def rows(path, raw, **options):
    path.write_bytes(raw)
    return list(read(Unit(str(path), "html", "s", options=SourceConfig(**options))))


def test_the_main_content_with_title_and_address(tmp_path):
    [row] = rows(tmp_path / "a.html", PAGE.encode())
    assert row == Row(
        0,
        "Heading\n\nA first paragraph of text & more.\n\n  • A first point.\n  • A second point.",
        metadata={"title": "On the title", "url": "https://x.org/page"},
    )


@pytest.mark.parametrize(
    ("raw", "charset", "text"),
    [
        ("<p>中文".encode("gbk"), "GB2312", "<p>中文"),  # as sent
        ('<meta charset="gbk"><p>中文'.encode("gb18030"), "", '<meta charset="gbk"><p>中文'),
        ("<meta charset=latin1>‘é’".encode("cp1252"), "", "<meta charset=latin1>‘é’"),
        ("<p>中文".encode(), "no-such-charset", "<p>中文"),
        ("<p>中文".encode(), "ascii", "<p>ä¸\xadæ–‡"),  # what is sent counts, wrong or not
        ("<p>中文".encode("utf-16"), "utf-8", "<p>中文"),  # but for a byte-order mark
        (b"<p>" + b"word " * 400 + b"\xff", "utf-8", "<p>" + "word " * 400 + "\ufffd"),  # broken here and there
    ],
)
def test_encodings_of_pages(raw, charset, text):
    assert page_text(raw, charset) == text


def test_elements_nested_beyond_reason_are_set_aside(tmp_path):
    # The time to extract their text grows with the square of their depth.
    [bad] = rows(tmp_path / "a.html", b"<div>" * 200_000 + b"text")
    assert bad.reason == "nested_too_deeply"
    [row] = rows(tmp_path / "a.html", b"<p>text</p>" * 5_000)
    assert row.text.count("text") == 5_000


def test_a_page_without_text_is_counted(tmp_path):
    [bad] = rows(tmp_path / "a.html", b"<html><body><script>draw()</script></body></html>")
    assert bad.reason == "empty_text"
