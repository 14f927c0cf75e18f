import bz2
import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline import conversations
from data_pipeline.config import SourceConfig
from data_pipeline.conversations import Conversation
from data_pipeline.ingest import readers
from data_pipeline.ingest.row import Bad, Row
from data_pipeline.ingest.units import Unit, kind_of


def unit(path, options=None, **fields):
    return Unit(str(path), kind_of(str(path)), "s", options=SourceConfig(**options or {}), **fields)


def read(path, options=None, **fields):
    return list(readers.read(unit(path, options, **fields)))


def zstd(raw):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(raw)
    return sink.getvalue().to_pybytes()


def test_text_has_newlines_and_no_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    assert read(tmp_path / "a.txt") == [Row(0, "one\ntwo\nthree\n")]


def test_code_is_told_by_its_suffix(tmp_path):
    (tmp_path / "a.rs").write_text("fn main() {}")
    assert read(tmp_path / "a.rs") == [Row(0, "fn main() {}", language="rust")]


def test_invalid_utf8_names_the_byte(tmp_path):
    (tmp_path / "a.txt").write_bytes("早上好".encode("gb18030"))
    [bad] = read(tmp_path / "a.txt")
    assert bad == Bad(0, "invalid_utf8", r"at byte 0: \xd4\xe7\xc9Ϻ\xc3")


BAD_LINES = [
    (b'{"text": "half', "not_json"),
    (b'{"text": "\xff"}', "invalid_utf8"),
    (b'["text"]', "not_an_object"),
    (b'{"title": "x"}', "no_text"),
    (b'{"text": null}', "no_text"),
    (b'{"text": 3}', "text_is_no_string"),
    (b'{"text": ["a", 3]}', "text_is_no_string"),
    (b'{"text": "\\ud83d"}', "invalid_unicode"),
    (b"[" * 100_000, "not_json"),
    (b'{"text": "x", "url": "\\ud83d"}', "invalid_unicode"),
    (b'{"text": "x", "\\ud83d": 1}', "invalid_unicode"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_line_is_named_and_its_neighbours_are_read(tmp_path, line, reason):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "first"}\n' + line + b'\n\n{"text": "last"}')
    first, bad, last = read(path)
    assert (first, last) == (Row(0, "first"), Row(3, "last"))
    assert (bad.number, bad.reason) == (1, reason)
    assert len(bad.sample) <= 120
    bad.sample.encode()


def test_rows_keep_their_own_labels(tmp_path):
    row = {"content": "x", "domain": "law", "source": "court", "language": "zh", "id": 3}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    [row] = read(tmp_path / "a.jsonl")
    assert row == Row(0, "x", source="court", domain="law", language="zh", metadata={"id": 3})


@pytest.mark.parametrize(
    ("text_key", "text"), [("", "t"), ("poem", "line 1\nline 2"), ("title,poem", "T\n\nline 1\nline 2")]
)
def test_text_key_names_the_column(tmp_path, text_key, text):
    row = {"title": "T", "content": "c", "text": "t", "poem": ["line 1", "line 2"]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    [row] = read(tmp_path / "a.jsonl", {"text_key": text_key, "metadata": ()})
    assert row == Row(0, text)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)]
)
def test_compressed_files(tmp_path, suffix, pack):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(pack(b'{"text": "one"}\n{"text": "two"}\n'))
    assert read(path) == [Row(0, "one"), Row(1, "two")]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_a_file_that_is_not_packed_as_it_says_is_damaged(tmp_path, suffix):
    (tmp_path / f"a.txt{suffix}").write_bytes(b"plain text")
    [bad] = read(tmp_path / f"a.txt{suffix}")
    assert bad.reason == "damaged_file"


def test_a_truncated_gzip_keeps_what_came_before(tmp_path):
    raw = b"".join(b'{"text": "%d"}\n' % i for i in range(20_000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(raw)[:-2000])
    *rows, last = read(tmp_path / "a.jsonl.gz")
    assert rows == [Row(i, str(i)) for i in range(len(rows))]
    assert len(rows) > 1000
    assert (last.number, last.reason) == (len(rows), "damaged_file")


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_a_list_or_an_object(tmp_path, indent):
    (tmp_path / "a.json").write_text(json.dumps([{"text": "one"}, {"text": "two"}], indent=indent))
    (tmp_path / "b.json").write_text(json.dumps({"text": "one"}, indent=indent))
    assert read(tmp_path / "a.json") == [Row(0, "one"), Row(1, "two")]
    assert read(tmp_path / "b.json") == [Row(0, "one")]


def test_json_that_holds_an_object_a_line(tmp_path):
    (tmp_path / "a.json").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert read(tmp_path / "a.json") == [Row(0, "one"), Row(1, "two")]


def test_parquet(tmp_path):
    table = pa.table({"text": ["one", None, "three"], "domain": ["d", "d", None], "x": [1, 2, 3]})
    pq.write_table(table, tmp_path / "a.parquet")
    one, none, three = read(tmp_path / "a.parquet")
    assert (one, three) == (Row(0, "one", domain="d", metadata={"x": 1}), Row(2, "three", metadata={"x": 3}))
    assert none == Bad(1, "no_text", "columns: text, domain, x")


def test_parquet_with_invalid_utf8(tmp_path):
    good, bad = b"good", b"\xff\xfe"
    offsets = pa.array([0, 4, 6], pa.int32()).buffers()[1]
    text = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(good + bad))
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [
        Row(0, "good"),
        Bad(1, "invalid_utf8", r"\xff\xfe"),
    ]


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"not parquet at all")
    [bad] = read(tmp_path / "a.parquet")
    assert bad.reason == "damaged_file"


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_shares_of_a_file_make_the_file(tmp_path, kind):
    rows = [{"text": str(i)} for i in range(10)]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=4)
    else:
        path.write_text(json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows)))
    shares = [read(path, first=i, step=3) for i in range(3)]
    assert [row.number for row in shares[1]] == [1, 4, 7]
    assert sorted(row.number for share in shares for row in share) == list(range(10))
    assert all(row.text == str(row.number) for share in shares for row in share)


COLUMNS = {
    "body": "The text.",
    "link": "http://x.org",
    "site": "news",
    "when": "2024-05-01",
    "n": 3,
    "tags": ["a"],
    "metadata": {"url": "http://inner", "score": 0.5},
}


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ({"text_key": "body", "metadata": ()}, Row(0, "The text.")),
        (
            {"columns": {"text": "body", "url": "link", "source": "site"}},
            Row(
                0,
                "The text.",
                source="news",
                metadata={"url": "http://x.org", "score": 0.5, "when": "2024-05-01", "n": 3},
            ),
        ),
        ({"text_key": "body", "metadata": ("when", "gone")}, Row(0, "The text.", metadata={"when": "2024-05-01"})),
        ({"text_key": "body", "metadata": ("url",)}, Row(0, "The text.", metadata={"url": "http://inner"})),
        ({"columns": {"text": "metadata.url"}, "metadata": ()}, Row(0, "http://inner")),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_columns_and_metadata_as_the_source_says(tmp_path, suffix, options, row):
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        path.write_text(json.dumps(COLUMNS))
    else:
        pq.write_table(pa.Table.from_pylist([COLUMNS]), path)
    assert read(path, options) == [row]


def test_times_of_parquet_are_text(tmp_path):
    table = pa.table({"text": ["x"], "at": pa.array([1_714_521_600_000_000_001], pa.timestamp("ns"))})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [Row(0, "x", metadata={"at": "2024-05-01 00:00:00.000000001"})]


def test_what_orjson_refuses_and_python_reads_is_a_row(tmp_path):
    lines = ['{"text": "a", "x": NaN, "n": 123456789012345678901234567890}', '{"text": "b", "x": 1e400}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert [row.text for row in read(tmp_path / "a.jsonl")] == ["a", "b"]


VALUES = st.one_of(
    st.text(max_size=8),
    st.text("a \n中\0\ud800", max_size=4),
    st.none(),
    st.integers(),
    st.lists(st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2), max_size=2),
)


@given(st.lists(VALUES, min_size=1, max_size=12), st.integers(1, 4))
def test_every_line_is_a_row_or_a_piece_of_the_quarantine(tmp_path_factory, values, shares):
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": value}) + "\n" for value in values))
    size = path.stat().st_size
    places = [size * i // shares for i in range(shares + 1)]
    parts = [read(path, start=places[i], end=places[i + 1]) for i in range(shares) if places[i] < places[i + 1]]
    rows = [row for part in parts for row in part]
    assert sorted(row.number for row in rows if isinstance(row, Bad)) == [
        row.number for row in read(path) if isinstance(row, Bad)
    ]
    assert [getattr(row, "text", row) if isinstance(row, Row) else None for row in rows] == [
        row.text if isinstance(row, Row) else None for row in read(path)
    ]
    assert len(rows) == len(values)


@given(st.lists(VALUES, min_size=1, max_size=12), st.integers(1, 4))
def test_every_element_of_a_list_is_a_row_or_a_piece_of_the_quarantine(tmp_path_factory, values, step):
    path = tmp_path_factory.mktemp("rows") / "a.json"
    path.write_text(json.dumps([{"text": value} for value in values]))
    numbers = [row.number for i in range(step) for row in read(path, first=i, step=step)]
    assert sorted(numbers) == list(range(len(values)))


@given(st.lists(st.none() | st.text("ab \0中", max_size=5), min_size=1, max_size=30), st.integers(1, 5))
def test_every_row_of_a_table_is_a_row_or_a_piece_of_the_quarantine(tmp_path_factory, texts, shares):
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=7)
    places = [len(texts) * i // shares for i in range(shares + 1)]
    parts = [read(path, start=places[i], end=places[i + 1]) for i in range(shares) if places[i] < places[i + 1]]
    assert [row.number for part in parts for row in part] == list(range(len(texts)))


@pytest.mark.parametrize("size", [1 << 10, 3 << 20])
def test_lists_beyond_what_is_parsed_at_once(tmp_path, monkeypatch, size):
    monkeypatch.setattr("data_pipeline.ingest.json_rows._WHOLE_BYTES", 1 << 20)
    texts = ["x" * (size // 3), '"]}, [{', "中" * (size // 9), "last"]
    (tmp_path / "a.json").write_text(json.dumps([{"text": text} for text in texts], indent=1, ensure_ascii=False))
    assert [row.text for row in read(tmp_path / "a.json")] == texts


def prompted(tmp_path, row, **options):
    write = (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert write
    [found] = read(tmp_path / "a.jsonl", options)
    return found


def test_a_prompt_and_its_completion_are_one_document(tmp_path):
    row = prompted(tmp_path, {"prompt": "你好吗？ ", "completion": "Fine.", "id": 3})
    expected = Conversation(({"role": "prompt", "content": "你好吗？ "}, {"role": "completion", "content": "Fine."}))
    assert row == Row(0, "你好吗？ Fine.", metadata={"id": 3, **expected.described()})
    row = prompted(tmp_path, {"q": "1+1=", "a": "2"}, columns={"prompt": "q", "completion": "a"}, metadata=())
    [found] = conversations.read([row.text.encode()], [json.dumps(row.metadata)])
    assert [turn["content"] for turn in found.turns] == ["1+1=", "2"]


@pytest.mark.parametrize(
    ("row", "options", "text"),
    [
        ({"completion": "alone"}, {}, "alone"),
        ({"prompt": "p", "completion": "c", "text": "whole"}, {}, "whole"),
        ({"prompt": "p", "completion": "c"}, {"text_key": "completion"}, "c"),
    ],
)
def test_what_is_no_prompt_with_its_completion(tmp_path, row, options, text):
    found = prompted(tmp_path, row, **options)
    assert found.text == text
    assert "conversation" not in found.metadata


@pytest.mark.parametrize(("row", "reason"), [({"q": "1"}, "no_text"), ({"q": 1, "a": "2"}, "text_is_no_string")])
def test_a_prompt_that_was_asked_for_must_be_there(tmp_path, row, reason):
    found = prompted(tmp_path, row, columns={"prompt": "q", "completion": "a"})
    assert found.reason == reason
