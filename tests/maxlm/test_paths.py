"""Files are written whole or not at all."""

import os
import subprocess
import sys

import pytest

from maxlm.errors import DataError, UserError
from maxlm.paths import as_path, exclusive, is_local, parse_json, read_json, read_whole, write_atomic, write_json


def test_paths_become_absolute_and_buckets_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(as_path("a/../b")) == str(tmp_path / "b")
    assert str(as_path("gs://bucket/a")) == "gs://bucket/a"
    assert is_local("/a")
    assert not is_local("gs://bucket/a")


def test_json_survives(tmp_path):
    value = {"a": [1, 2.5, None], "ü": {"中": True}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json", "thing") == value
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomic(tmp_path / "x", "old")
    program = """if True:
        import resource, sys
        from maxlm.paths import write_atomic
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        write_atomic(sys.argv[1], b"n" * 5000)
    """
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_named(tmp_path, raw):
    (tmp_path / "x.json").write_bytes(raw)
    with pytest.raises(DataError, match=r"x\.json: not valid JSON \(thing\)"):
        read_json(tmp_path / "x.json", "thing")


def test_what_is_no_object_or_not_there_is_named(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(DataError, match="should be a JSON object, found list"):
        read_json(tmp_path / "x.json", "thing")
    with pytest.raises(DataError, match=r"y\.json: no such file \(thing\)"):
        read_json(tmp_path / "y.json", "thing")


def test_a_lock_is_held_by_one_and_freed(tmp_path):
    with exclusive(tmp_path / "lock", "taken by another"):
        with pytest.raises(UserError, match="taken by another"), exclusive(tmp_path / "lock", "taken by another"):
            pytest.fail("two hold the lock")
    with exclusive(tmp_path / "lock", "taken by another"):
        pass


def test_what_is_no_plain_file_of_a_likely_size_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "large").write_bytes(b"12345")
    for name, message in (
        ("pipe", "not a regular file"),
        ("endless", "not a regular file"),
        ("large", "5 bytes; it has 4 at most"),
    ):
        with pytest.raises(DataError, match=rf"{name}: {message}"):
            read_whole(tmp_path / name, "it", 4)
    with pytest.raises(DataError, match=rf"{tmp_path}: not a regular file"):
        read_whole(tmp_path, "it")
    assert read_whole(tmp_path / "large", "it", None) == b"12345"


def test_json_within_json_within_json(tmp_path):
    assert parse_json(b"[" * 90 + b"]" * 90, "x.json", "it")
    for depth in (200, 100_000):
        with pytest.raises(DataError, match=r"x\.json: "):
            parse_json(b"[" * depth + b"]" * depth, "x.json", "it")


def test_half_a_character_is_written_as_an_escape(tmp_path):
    write_json(tmp_path / "x.json", {"数": "\ud800"})
    assert read_json(tmp_path / "x.json", "it") == {"数": "\ud800"}
