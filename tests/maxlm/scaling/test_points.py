"""Runs read from what people have, and what is wrong with them named."""

import json

import numpy as np
import pytest

from maxlm.errors import DataError
from maxlm.scaling.points import read_points


@pytest.fixture
def file(tmp_path):
    def write(text: str, name: str = "runs.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_csv_by_other_names(file):
    found = read_points(file("N,lr,val_loss,Training FLOP,note\n1e6,1e-3,3.5,6e15,x\n2e6,2e-3,3.2,1.2e16,y\n"))
    np.testing.assert_array_equal(found.number("params"), [1e6, 2e6])
    np.testing.assert_array_equal(found.number("learning_rate"), [1e-3, 2e-3])
    np.testing.assert_array_equal(found.number("tokens"), [1e9, 1e9])  # C / 6N
    assert found.word("note") == ["x", "y"]


def test_names_that_are_said(file):
    path = file("size,d,nll\n1e6,2e7,3\n")
    found = read_points(path, {"params": "size", "tokens": "d", "loss": "nll"})
    assert found.number("flops")[0] == 6 * 1e6 * 2e7
    with pytest.raises(DataError, match=r"--columns params=sizes: no column 'sizes'; did you mean 'size'"):
        read_points(path, {"params": "sizes"})
    with pytest.raises(DataError, match=r"no column 'loss' \(or validation_loss, .* --columns loss=NAME"):
        read_points(path).number("loss")


def test_a_sweeps_folder(file, tmp_path):
    rows = [{"params": 1e6, "tokens": 2e7, "share": {"en": 0.25, "zh": 0.75}, "loss": 3.1, "order": "random"}]
    file("\n".join(map(json.dumps, rows)), "results.jsonl")
    found = read_points(tmp_path)
    assert found.domains() == ["en", "zh"]
    np.testing.assert_array_equal(found.shares(), [[0.25, 0.75]])


@pytest.mark.parametrize("bad", ["nan", "inf", "-1", "0", ""])
def test_runs_that_failed_are_named(file, bad):
    with pytest.raises(DataError, match=r"row 2: loss is .* take out runs that failed"):
        read_points(file(f"params,loss\n1,3\n1,{bad}\n")).number("loss")


def test_choosing_runs(file):
    found = read_points(file("order,batch,loss\neasy,8,3\nrandom,8,9\nrandom,16,2\n"))
    assert found.where("order", "random").number("loss").tolist() == [9, 2]
    assert found.where("batch", "8.0").number("loss").tolist() == [3, 9]
    assert found.without_highest(1).number("loss").tolist() == [3, 2]
    with pytest.raises(DataError, match="no run has order=hard; there are easy, random"):
        found.where("order", "hard")


def test_nothing_there(file, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_points(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="holds no runs"):
        read_points(file("params,loss\n"))
    with pytest.raises(DataError, match="holds text"):
        read_points(file("params,loss\n1,x\n")).number("loss")
