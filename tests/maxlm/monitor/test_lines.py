"""Files of lines, on a disk and where objects can only be written whole."""

import json

import pytest

from maxlm.monitor import lines
from maxlm.monitor.lines import LineFile


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path, monkeypatch):
    if request.param == "bucket":  # the same calls of epath, against a disk
        monkeypatch.setattr(lines, "is_local", lambda path: False)
    return tmp_path / "metrics" / "x.jsonl"


def _read(path) -> list:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_of_several_starts(place):
    for start in range(3):
        file = LineFile(place)
        file.write({"start": start, "name": "中"})
        file.write({"end": start})
        file.close()
    assert _read(place) == [part for start in range(3) for part in ({"start": start, "name": "中"}, {"end": start})]


def test_a_torn_line_stands_alone(place):
    place.parent.mkdir()
    place.write_bytes(b'{"a": 1}\n{"b": \xe4\xb8')  # cut within a character
    file = LineFile(place)
    file.write({"c": 3})
    file.close()
    assert place.read_bytes().split(b"\n") == [b'{"a": 1}', b'{"b": \xe4\xb8', b'{"c": 3}', b""]


def test_on_a_disk_a_line_is_there_at_once(tmp_path):
    file = LineFile(tmp_path / "x.jsonl")
    file.write({"a": 1})
    assert _read(tmp_path / "x.jsonl") == [{"a": 1}]
    file.close()


def test_in_a_bucket_after_half_a_minute(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(lines, "is_local", lambda path: False)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    file = LineFile(tmp_path / "x.jsonl")
    file.write({"a": 1})
    assert not (tmp_path / "x.jsonl").exists()
    now[0] = 31
    file.write({"a": 2})
    assert _read(tmp_path / "x.jsonl") == [{"a": 1}, {"a": 2}]
    file.close()
