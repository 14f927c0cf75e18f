import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.config import SourceConfig
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Bad, Row
from data_pipeline.ingest.units import Unit

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\n,;"\t'), max_size=30)


def rows(path, content, **options):
    fields = {name: options.pop(name) for name in ("first", "step") if name in options}
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read(Unit(str(path), "csv", "s", options=SourceConfig(**options), **fields)))


def test_quotes_hold_delimiters_lines_and_quotes(tmp_path):
    content = 'id,text\r\n1,"one, ""two""\nthree"\r\n\r\n2,four\r\n'
    assert rows(tmp_path / "a.csv", content) == [
        Row(0, 'one, "two"\nthree', metadata={"id": "1"}),
        Row(1, "four", metadata={"id": "2"}),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_the_header_shows_the_delimiter(tmp_path, name, delimiter):
    content = f'"a,;\tb"{delimiter}text\n1{delimiter}"x, y; z"\n'
    [row] = rows(tmp_path / name, content)
    assert (row.text, row.metadata) == ("x, y; z", {"a,;\tb": "1"})


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_what_python_writes_is_read_back(tmp_path_factory, pairs, encoding):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerows([("key", "text"), *(("k" + key, text) for key, text in pairs)])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    read_back = rows(path, sink.getvalue().encode(encoding), encoding="" if encoding != "utf-8" else "utf-8")
    assert len(read_back) == len(pairs)
    for number, (row, (key, text)) in enumerate(zip(read_back, pairs, strict=True)):
        if not text:
            assert (row.number, row.reason) == (number, "no_text")
        elif text.isspace():
            assert (row.number, row.reason) == (number, "empty_text")
        else:
            assert row == Row(number, text, metadata={"key": "k" + key})


def test_rows_of_other_lengths(tmp_path):
    content = "text,url,n\nshort\nlong,u,1,2\nright,u,1\n"
    assert rows(tmp_path / "a.csv", content) == [
        Row(0, "short"),
        Bad(1, "too_many_cells", "4 for 3 columns: long"),
        Row(2, "right", metadata={"url": "u", "n": "1"}),
    ]


def test_a_quote_that_breaks_the_rule_costs_its_row(tmp_path):
    content = 'text,n\n"a" b,1\ngood,2\n"never closed,3\nand on,4\n'
    first, good, last = rows(tmp_path / "a.csv", content)
    assert (first.reason, good.text, last.reason) == ("not_csv", "good", "not_csv")
    assert "unexpected end of data" in last.sample


def test_an_open_quote_takes_no_more_than_the_limit(tmp_path):
    record = '"' + "line of text, with commas\n" * 50 + '",1\n'
    long, after = rows(tmp_path / "a.csv", f"text,n\n{record}after,2\n", max_row_bytes=400)
    assert (long.number, long.reason) == (0, "row_too_long")
    assert (after.number, after.text) == (1, "after")


def test_gb18030_is_told_and_its_bad_rows_are_set_aside(tmp_path):
    lines = ["科室,text", *(f"内科,第{i}位患者的高血压需要注意休息并按时服药。" for i in range(20))]
    encoded = [line.encode("gb18030") for line in lines]
    encoded[5] += b"\xff"
    read_back = rows(tmp_path / "a.csv", b"\n".join(encoded))
    assert [row.number for row in read_back if isinstance(row, Bad)] == [4]
    assert read_back[4].reason == "invalid_encoding"
    assert read_back[0] == Row(0, "第0位患者的高血压需要注意休息并按时服药。", metadata={"科室": "内科"})


def test_a_header_without_rows(tmp_path):
    assert rows(tmp_path / "a.csv", "text,n\n") == [Bad(0, "no_rows", "")]
    [bad] = rows(tmp_path / "a.csv", "a,b\n1,2\n")
    assert (bad.reason, bad.sample) == ("no_text", "columns: a, b")


def test_shares_make_the_file(tmp_path):
    content = "text\n" + "".join(f'"row {i}\nof two lines"\n' for i in range(10))
    shares = [rows(tmp_path / "a.csv", content, first=i, step=3) for i in range(3)]
    assert [row.number for row in shares[1]] == [1, 4, 7]
    assert sorted(row.text for share in shares for row in share) == [f"row {i}\nof two lines" for i in range(10)]
