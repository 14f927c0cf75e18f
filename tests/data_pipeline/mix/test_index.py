"""The index says of each document what Parquet says, and is made anew when that changes and only then."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipeline.document import KEPT
from data_pipeline.mix import indexing
from data_pipeline.mix.index import open_index
from maxlm.errors import DataError, UserError
from maxlm.paths import exclusive

ROWS = [
    {
        "id": f"id-{i}",
        "text": "文" * i + "x",
        "source": f"source-{i % 3}",
        "domain": "zh" if i % 2 else "en",
        "language": None if i == 4 else f"l{i % 2}",
        "marks": [None, ["a.b"], ["a.b", "c.d"]][i % 3],
        "scores": None if i == 5 else [("quality", i / 10), *([("depth", 1.0)] if i % 4 == 0 else [])],
        "cluster": "first" if i in (2, 7) else "other" if i == 9 else None,
        "bytes": 3 * i + 1,
    }
    for i in range(20)
]


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path)
    return tmp_path


def write(dataset, rows=ROWS, schema=KEPT, name="part-{}.parquet"):
    (dataset / "documents").mkdir(exist_ok=True)
    for number, part in enumerate((rows[:13], rows[13:])):
        path = dataset / "documents" / name.format(number)
        pq.write_table(pa.Table.from_pylist(part, schema), path, row_group_size=5)


def test_columns_are_those_of_the_documents(dataset):
    index, groups = open_index(dataset, 0.0, ["quality", "depth"], ["c.d", "x.y"])
    assert len(index) == 20
    for name in ("domain", "source", "language"):
        assert [index.names[name][code] for code in index.codes[name]] == [row[name] or "" for row in ROWS]
    assert index.bytes.tolist() == [len(row["text"].encode()) for row in ROWS]
    assert index.bytes.dtype == np.uint32
    quality = [np.nan if row["scores"] is None else row["scores"][0][1] for row in ROWS]
    np.testing.assert_allclose(index.scores["quality"], np.array(quality, np.float32))
    assert np.flatnonzero(~np.isnan(index.scores["depth"])).tolist() == [0, 4, 8, 12, 16]
    assert index.marks["c.d"].tolist() == [i % 3 == 2 for i in range(20)]
    assert not index.marks["x.y"].any()
    assert index.cluster[2] == index.cluster[7] != index.cluster[9] > 0
    assert np.flatnonzero(index.cluster).tolist() == [2, 7, 9]
    assert index.row_groups.tolist() == [0, 5, 10, 13, 18, 20]
    assert [path.name[5] + str(number) for path, number in groups] == ["00", "01", "02", "10", "11"]


def test_lengths_are_read_or_else_measured(dataset, tmp_path_factory):
    wrong = [{**row, "bytes": 5} for row in ROWS]
    write(dataset, wrong)
    assert set(open_index(dataset, 0.0)[0].bytes.tolist()) == {5}
    other = tmp_path_factory.mktemp("other")
    write(other, schema=pa.schema([field for field in KEPT if field.name != "bytes"]))
    assert open_index(other, 0.0)[0].bytes.tolist() == [row["bytes"] for row in ROWS]


def test_it_is_made_once(dataset, monkeypatch):
    first, _ = open_index(dataset, 0.1)
    monkeypatch.setattr(indexing, "build", None)
    again, _ = open_index(dataset, 0.1)
    assert again.digest == first.digest
    assert again.held_out.tolist() == first.held_out.tolist()


@pytest.mark.parametrize("change", ["documents", "holdout", "score"])
def test_it_is_made_anew_for_other_documents_or_columns(dataset, change):
    first, _ = open_index(dataset, 0.1, ["depth"])
    if change == "documents":
        write(dataset, [{**row, "id": row["id"] + "'"} for row in ROWS])
    scores = ["quality"] if change == "score" else []
    second, _ = open_index(dataset, 0.5 if change == "holdout" else 0.1, scores)
    assert (second.digest != first.digest) == (change == "documents")
    assert (second.held_out.tolist() != first.held_out.tolist()) == (change != "score")
    assert set(second.scores) == {"depth": {"depth"}, "score": {"depth", "quality"}}.get(change, set())
    assert not (dataset / "index/pieces").exists()


def test_damaged_columns_and_a_second_process_are_named(dataset):
    open_index(dataset, 0.1)
    (dataset / "index/bytes.npy").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"bytes\.npy: damaged .*; remove .*index, it is made again"):
        open_index(dataset, 0.1)
    with exclusive(dataset / "index.lock", ""), pytest.raises(UserError, match="another process is indexing"):
        open_index(dataset, 0.2)


KILLED = """if True:
    import os, signal, sys
    from pathlib import Path
    from data_pipeline.mix import indexing
    from data_pipeline.mix.index import open_index
    name, nth, dataset = sys.argv[1:]
    original, calls = getattr(indexing, name), []
    def wrapped(*args):
        calls.append(1)
        if len(calls) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)
    setattr(indexing, name, wrapped)
    open_index(Path(dataset), 0.1, ["quality"])
"""


@pytest.mark.parametrize(("name", "nth"), [("_piece", 2), ("_survey", 1), ("_publish", 3), ("write_json", 1)])
def test_a_kill_leaves_nothing_that_counts(dataset, name, nth):
    whole, _ = open_index(dataset, 0.1, ["quality"])
    expected = {path.name: path.read_bytes() for path in (dataset / "index").glob("*.npy")}
    os.utime(dataset / "documents/part-0.parquet")  # makes it anew
    done = subprocess.run([sys.executable, "-c", KILLED, name, str(nth), str(dataset)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not (dataset / "index/index.json").exists()
    index, _ = open_index(dataset, 0.1, ["quality"])
    assert index.digest == whole.digest
    assert {path.name: path.read_bytes() for path in (dataset / "index").glob("*.npy")} == expected
    assert {path.name for path in (dataset / "index").iterdir()} == {*expected, "index.json"}
    assert json.loads((dataset / "index/index.json").read_text())["documents"] == 20
