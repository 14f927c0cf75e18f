"""Labelled files as people have them, and what is wrong with them in words."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.score import labelled
from maxlm.errors import DataError

ROWS = [{"text": "乙", "label": "b"}, {"text": "甲", "label": "a"}, {"text": "丙", "label": "b"}]


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_classes_from_both_formats(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    read = labelled.read([_jsonl(tmp_path / "rows.jsonl", ROWS), tmp_path / "rows.parquet"])
    assert read.texts == ["乙", "甲", "丙"] * 2
    assert read.labels == ("a", "b")
    assert read.targets.tolist() == [1, 0, 1] * 2


def test_numbers_as_values_and_as_classes(tmp_path):
    rows = [{"sentence": "x", "stars": 3}, {"sentence": "y", "stars": 10}, {"sentence": "z", "stars": -1}]
    file = _jsonl(tmp_path / "rows.jsonl", rows)
    values = labelled.read([file], label_key="stars", regression=True)
    assert (values.labels, values.targets.tolist(), values.targets.dtype) == ((), [3, 10, -1], np.float64)
    assert labelled.read([file], label_key="stars").labels == ("-1", "10", "3")
    known = labelled.read([file], label_key="stars", labels=("3", "10", "-1"))
    assert known.targets.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no labelled rows"),
        ('{"text": "a", "label": "b"}\n{"text": "a"\n', "line 2: not JSON"),
        ('["a"]\n', "line 1: expected an object, found list"),
        ('{"body": "a", "label": "b"}\n', "line 1: no text under 'text'; it has body, label"),
        ('{"text": "a", "label": null}\n', "line 1: 'label' should be a label .* found None"),
        ('{"text": "a", "label": 0.5}\n', "line 1: 'label' should be a label"),
        ('{"text": "a", "label": "c"}\n', "line 1: label 'c' is none of a, b"),
    ],
)
def test_wrong_rows(tmp_path, content, message):
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        labelled.read([tmp_path / "rows.jsonl"], labels=("a", "b") if "'c'" in message else ())


@pytest.mark.parametrize("value", ['"good"', "NaN", "true", "null"])
def test_wrong_values(tmp_path, value):
    (tmp_path / "rows.jsonl").write_text(f'{{"text": "a", "label": {value}}}\n')
    with pytest.raises(DataError, match="line 1: 'label' should be a number, found"):
        labelled.read([tmp_path / "rows.jsonl"], regression=True)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"rows\.jsonl: no such file of labelled texts"):
        labelled.read([tmp_path / "rows.jsonl"])


@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.floats(0.05, 0.95), st.integers(0, 5))
def test_split(targets, share, seed):
    """Every text on one side; each class in its share, within one text; the same each time."""
    labels = ("a", "b", "c", "d")
    rows = labelled.Labelled([str(i) for i in range(len(targets))], labels, np.array(targets))
    fitted, held = labelled.split(rows, share, seed)
    assert sorted(fitted.texts + held.texts) == sorted(rows.texts)
    assert len(held.texts) == min(max(round(share * len(targets)), 1), len(targets) - 1)
    real_share = len(held.texts) / len(targets)
    for label in range(4):
        inside = np.count_nonzero(held.targets == label)
        assert abs(inside - real_share * targets.count(label)) < 1.001
    again = labelled.split(rows, share, seed)
    assert (again[0].texts, again[1].texts) == (fitted.texts, held.texts)
    for part in (fitted, held):
        assert part.targets.tolist() == [targets[int(text)] for text in part.texts]


def test_one_text_cannot_be_split():
    with pytest.raises(DataError, match="1 labelled texts: none can be held out"):
        labelled.split(labelled.Labelled(["a"], ("a",), np.zeros(1, int)), 0.5, 0)
