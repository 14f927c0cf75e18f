"""The table of docs/corpus/ingest.md: what comes of each kind of bad input in each format."""

import gzip
import io
import json
import os
import random
import re
import stat
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.config import SourceConfig
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Row
from data_pipeline.ingest.units import files_of
from tests.data_pipeline.ingest.test_archives import answer, record
from tests.house.modules import ROOT

FORMATS = ("txt", "md", "py", "jsonl", "json", "csv", "parquet", "html", "warc", "wet")
ONE_EACH = ("txt", "md", "py", "html")  # a file is a document
LIMIT = 200_000  # max_row_bytes here
COLUMNS = 10_001
GOOD = ["The first text.", "另一段文字。"]
NOISE = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz ", k=60_000))  # hardly packs


def make(kind, texts, encoding="utf-8"):
    """A file of a format that holds `texts`, the first of them alone where a file is a document."""
    if kind in ("txt", "md", "py"):
        return texts[0].encode(encoding)
    if kind == "jsonl":
        return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode(encoding)
    if kind == "json":
        return json.dumps([{"text": text} for text in texts]).encode(encoding)
    if kind == "csv":
        cells = ['"' + text.replace('"', '""') + '"' if isinstance(text, str) else str(text) for text in texts]
        return "\r\n".join(["id,text", *(f"{i},{cell}" for i, cell in enumerate(cells))]).encode(encoding)
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": texts}), sink)
        return sink.getvalue()
    if kind == "html":
        return f"<html><body><p>{texts[0]}</p></body></html>".encode(encoding)
    if kind == "warc":
        pages = [f"<html><body><p>{text}</p></body></html>".encode(encoding) for text in texts]
        return b"".join(record("response", f"http://x/{i}", answer(page)) for i, page in enumerate(pages))
    return b"".join(record("conversion", "http://x", text.encode(encoding), "text/plain") for text in texts)


def with_columns(kind):
    """A row of more columns than any table of texts has, between good ones where a format has rows."""
    if kind == "csv":
        return make(kind, GOOD) + b"\r\n3,text" + b",x" * COLUMNS
    if kind == "jsonl":
        many = {f"c{i}": i for i in range(COLUMNS)}
        return make(kind, GOOD) + json.dumps({"text": "x", **many}).encode()
    if kind == "json":
        return json.dumps([*({"text": text} for text in GOOD), {f"c{i}": i for i in range(COLUMNS)}]).encode()
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({f"c{i}": pa.array([1]) for i in range(COLUMNS)}), sink)
        return sink.getvalue()
    return None


def with_value(kind, value):
    """A row whose text is something else."""
    if kind in ("jsonl", "json"):
        return make(kind, [*GOOD, value])
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": [value, value]}), sink)
        return sink.getvalue()
    return None


FAULTS = {
    "empty file": lambda kind: b"",
    "UTF-8 byte-order mark": lambda kind: b"\xef\xbb\xbf" + make(kind, GOOD),
    "UTF-16": lambda kind: make(kind, GOOD, "utf-16"),
    "NUL in a text": lambda kind: make(kind, ["nul \0 here", GOOD[1]]),
    "a byte that is no UTF-8": lambda kind: make(kind, ["caf@", GOOD[1]]).replace(b"caf@", b"caf\xe9"),
    "a row beyond the limit": lambda kind: make(kind, ["x" * (LIMIT + 1), GOOD[1]]),
    "too many columns": with_columns,
    "numbers for text": lambda kind: with_value(kind, 3),
    "nested lists for text": lambda kind: with_value(kind, [["a"], ["b"]]),
    "gzip, cut off": lambda kind: gzip.compress(make(kind, [NOISE] if kind in ONE_EACH else [*GOOD, NOISE]))[:-3000],
    "gzip by another name": lambda kind: gzip.compress(make(kind, GOOD)),
    "Parquet by another name": lambda kind: make("parquet", GOOD),
    "named .gz, not packed": lambda kind: make(kind, GOOD),
    "the same row twice": lambda kind: None if kind in ONE_EACH else make(kind, [GOOD[0]] * 2),
    "link to itself": None,
    "link to nothing": None,
    "gone since it was listed": None,
    "closed to us": None,
    "a pipe": None,
}
PACKED = ("gzip, cut off", "named .gz, not packed")


def found(units):
    rows = [row for unit in units for row in read(unit)]
    documents = sum(isinstance(row, Row) for row in rows)
    reasons = [f"`{row.reason}`" for row in rows if not isinstance(row, Row)]
    return ", ".join([str(documents)] * bool(documents) + reasons)


@contextmanager
def closed(path):
    """Nobody may read a file; root may read anything, so root is somebody else meanwhile."""
    path.chmod(0)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)
        path.chmod(stat.S_IRUSR)


def outcome(tmp_path, fault, kind):
    path = tmp_path / (f"a.{kind}.gz" if fault in PACKED else f"a.{kind}")
    source = SourceConfig(str(path), max_row_bytes=LIMIT)
    if fault == "link to itself":
        path.symlink_to(path)
    elif fault == "link to nothing":
        path.symlink_to(tmp_path / "nothing")
    elif fault == "a pipe":
        os.mkfifo(path)
    elif FAULTS[fault] is None:
        path.write_bytes(make(kind, GOOD))
        units = files_of(source)
        if fault == "closed to us":
            with closed(path):
                return found(units)
        path.unlink()
        return found(units)
    else:
        content = FAULTS[fault](kind)
        if content is None:
            return "—"
        path.write_bytes(content)
    return found(files_of(source))


def documented():
    lines = (ROOT / "docs/corpus/ingest.md").read_text(encoding="utf-8").split("## Bad input")[1].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if re.match(r"\| [^-]", line)]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_comes_out_as_documented(tmp_path, fault, kind):
    assert outcome(tmp_path, fault, kind) == documented()[fault][kind]


if __name__ == "__main__":  # prints the table
    import tempfile

    for name in FAULTS:
        cells = []
        for kind in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                cells.append(outcome(Path(folder), name, kind))
        print(f"| {name} | {' | '.join(cells)} |")
