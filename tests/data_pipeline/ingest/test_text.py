import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.config import SourceConfig
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Row
from data_pipeline.ingest.units import Unit


def rows(path, content, **options):
    fields = {name: options.pop(name) for name in ("first", "step") if name in options}
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read(Unit(str(path), "text", "s", options=SourceConfig(**options), **fields)))


def test_blank_lines_part_documents(tmp_path):
    content = "\n\none\r\nand on\r\n \r\n\r\n  two\n\t\nthree"
    assert [row.text for row in rows(tmp_path / "a.txt", content, split="blank_lines")] == [
        "one\nand on",
        "  two",
        "three",
    ]


def test_any_string_parts_documents(tmp_path):
    found = rows(tmp_path / "a.txt", "one.*<|end|>two\n\nstill two<|end|>\n<|end|>", split="<|end|>")
    assert found == [Row(0, "one.*"), Row(1, "two\n\nstill two")]


@given(st.lists(st.text("ab \n", max_size=20), max_size=20), st.sampled_from(["--", "blank_lines"]))
def test_pieces_are_those_of_the_whole_text(tmp_path_factory, texts, split):
    import re

    content = "--".join(texts)
    path = tmp_path_factory.mktemp("split") / "a.txt"
    parts = content.split("--") if split == "--" else re.split(r"\n(?:[ ]*\n)+", content)
    expected = [part.strip("\n") for part in parts if part.strip()]
    assert [row.text for row in rows(path, content, split=split) if isinstance(row, Row)] == expected


def test_a_long_piece_is_set_aside_and_the_next_is_read(tmp_path):
    content = "one\n\n" + "x" * 3_000_000 + "\n\ntwo"
    one, long, two = rows(tmp_path / "a.txt", content, split="blank_lines", max_row_bytes=100_000)
    assert (one.text, long.reason, two.text) == ("one", "row_too_long", "two")


def test_bad_bytes_cost_their_piece(tmp_path):
    one, bad, two = rows(tmp_path / "a.txt", b"one\n\nb\xffd\n\ntwo", split="blank_lines")
    assert (one.text, bad.reason, two.text) == ("one", "invalid_utf8", "two")


def test_front_matter_is_metadata(tmp_path):
    content = "---\ntitle: On X\ndate: 2024-05-01\ntags: [a, b]\ndraft: false\n---\n\n# X\n"
    [row] = rows(tmp_path / "a.md", content)
    assert row == Row(0, "# X\n", metadata={"title": "On X", "date": "2024-05-01", "draft": False})


@pytest.mark.parametrize("content", ["---\n\nA rule, then text.\n\n---\nmore", "---\n: [\n---\ntext", "--- x\n"])
def test_dashes_that_are_no_front_matter_stay(tmp_path, content):
    assert rows(tmp_path / "a.md", content) == [Row(0, content)]


@pytest.mark.parametrize(
    ("encoding", "given"), [("gb18030", "gb18030"), ("cp1252", "cp1252"), ("utf-16-le", "utf-16-le")]
)
def test_a_named_encoding_is_used(tmp_path, encoding, given):
    text = "naïve" if encoding == "cp1252" else "你好"
    assert rows(tmp_path / "a.txt", text.encode(encoding), encoding=given) == [Row(0, text)]
    assert [row.reason for row in rows(tmp_path / "a.txt", b"\x81\x8d\xff", encoding=given)] == ["invalid_encoding"]


def test_latin_1_and_gb18030_come_in_as_right_text(tmp_path):
    english = "It was in Legaré Street, with the fiancée of a naïve café owner, that the house stood.\n" * 3
    chinese = "今天天气很好，我们一起去公园散步。\n" * 3
    assert rows(tmp_path / "a.txt", english.encode("latin-1")) == [Row(0, english)]
    assert rows(tmp_path / "b.txt", chinese.encode("gb18030")) == [Row(0, chinese)]
