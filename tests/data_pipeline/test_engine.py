import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data_pipeline import engine
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.tables import contents

NAMES = engine.partition_names(4)


def numbers(job):
    """A job's number as a table; the job 13 can't be done."""
    if job == 13:
        raise DataError("thirteen")
    return (pa.table({"n": [job]}),)


def with_process(job):
    return (pa.table({"n": [job], "pid": [os.getpid()]}),)


def doubled(table):
    return table.set_column(0, "n", pc.multiply(table["n"], 2))


def process_of(table):
    return table.append_column("pid", pa.array([os.getpid()] * table.num_rows))


def halved(table):
    return table.slice(0, 0)


def dies(job):
    os._exit(1)


def stage(folder, digest="d"):
    return engine.Stage("test", (folder,), digest)


def make(folder, jobs=(0, 1, 2, 3), function=numbers, digest="d", size_bytes=0):
    engine.make_partitions(stage(folder, digest), function, dict(zip(NAMES, jobs, strict=True)), size_bytes)


def values(folder):
    return [engine.read_partition(folder / name)["n"].to_pylist() for name in engine.require(folder, "test")]


def test_map_keeps_names_and_order(tmp_path):
    make(tmp_path / "in")
    engine.map_partitions(stage(tmp_path / "out"), doubled, [tmp_path / "in"], NAMES)
    assert values(tmp_path / "out") == [[0], [2], [4], [6]]


def test_what_is_light_is_done_in_this_process(tmp_path, monkeypatch):
    monkeypatch.setattr(engine.workers, "_WORTH_PROCESSES_BYTES", 1)
    make(tmp_path / "in")
    for light, here in ((True, {os.getpid()}), (False, set())):
        folder = tmp_path / str(light)
        engine.map_partitions(stage(folder), process_of, [tmp_path / "in"], NAMES, light)
        pids = {pid for name in NAMES for pid in engine.read_partition(folder / name)["pid"].to_pylist()}
        assert pids & {os.getpid()} == here


def test_rows_are_counted(tmp_path):
    engine.write_partition(tmp_path / "rows.parquet", pa.table({"n": range(7)}))
    assert engine.count_rows(tmp_path / "rows.parquet") == 7
    with pytest.raises(DataError, match="no such partition"):
        engine.count_rows(tmp_path / "none.parquet")


def test_map_must_answer_every_row(tmp_path):
    make(tmp_path / "in")
    with pytest.raises(RuntimeError, match="1 rows in, 0 out"):
        engine.map_partitions(stage(tmp_path / "out"), halved, [tmp_path / "in"], NAMES)


def test_processes_do_the_same_as_none(tmp_path):
    make(tmp_path / "here")
    make(tmp_path / "there", size_bytes=10**9)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    make(tmp_path / "pids", function=with_process, size_bytes=10**9)
    pids = {engine.read_partition(tmp_path / "pids" / name)["pid"][0].as_py() for name in NAMES}
    assert os.getpid() not in pids


@pytest.mark.parametrize("size_bytes", [0, 10**9])
def test_a_failure_leaves_what_was_finished_and_the_next_run_goes_on(tmp_path, size_bytes):
    with pytest.raises(DataError, match="thirteen"):
        make(tmp_path, jobs=(0, 1, 13, 3), size_bytes=size_bytes)
    assert not engine.is_complete(tmp_path)
    with pytest.raises(DataError, match="is not finished: run `maxlm-data clean` first"):
        engine.require(tmp_path, "clean")
    finished = (tmp_path / NAMES[0]).stat()
    make(tmp_path)
    assert (tmp_path / NAMES[0]).stat() == finished  # not written again
    assert values(tmp_path) == [[0], [1], [2], [3]]


def test_another_digest_does_all_again(tmp_path):
    make(tmp_path)
    make(tmp_path, jobs=(5, 6, 7, 8), digest="other")
    assert values(tmp_path) == [[5], [6], [7], [8]]
    assert not engine.is_complete(tmp_path, "d")
    with pytest.raises(DataError, match="made with other settings or input"):
        engine.require(tmp_path, "clean", "d")


def test_an_unchanged_stage_is_left_alone(tmp_path):
    make(tmp_path)
    make(tmp_path, jobs=(13, 13, 13, 13))  # would fail, were it done
    assert values(tmp_path) == [[0], [1], [2], [3]]


def test_digest_follows_parameters_and_inputs(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b", digest="other")
    digests = {
        engine.digest("s", {"x": 1}, [tmp_path / "a"]),
        engine.digest("s", {"x": 2}, [tmp_path / "a"]),
        engine.digest("s", {"x": 1}, [tmp_path / "b"]),
        engine.digest("t", {"x": 1}, [tmp_path / "a"]),
    }
    assert len(digests) == 4


def test_a_dead_process_is_told_in_words(tmp_path):
    with pytest.raises(DataError, match="a worker process died"):
        make(tmp_path, function=dies, size_bytes=10**9)


@pytest.mark.parametrize(
    ("content", "message"), [(b"PAR1 and no more", "damaged partition"), (None, "no such partition")]
)
def test_a_partition_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / NAMES[0]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"{NAMES[0]}: {message}"):
        engine.read_partition(path)


def test_ray_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install ray"):
        engine.daft_on_ray()


SLOW = """
import sys, time
import pyarrow as pa
from data_pipeline import engine

def slow(job):
    time.sleep(60 * (job > 1))
    return (pa.table({"n": [job]}),)

if __name__ == "__main__":
    jobs = dict(zip(engine.partition_names(4), range(4)))
    engine.make_partitions(engine.Stage("test", (sys.argv[1],), "d"), slow, jobs, 10**9)
"""


def test_killing_and_running_again_gives_the_same_bytes(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen([sys.executable, script, tmp_path / "killed"], env=environment)
    deadline = time.monotonic() + 30
    while sum((tmp_path / "killed" / name).exists() for name in NAMES) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert [name for name in NAMES if (tmp_path / "killed" / name).exists()] == NAMES[:2]
    make(tmp_path / "killed")
    make(tmp_path / "whole")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
