"""Real producers, really killed: whatever the instant, the next one ends with the same bytes and the same uses."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from data_pipeline.produce import producer
from tests.data_pipeline.produce import made

# Kills itself with SIGKILL right before or after the n-th call of a function; all else is the producer as it is.
KILLED_AT = """if True:
    import importlib, json, os, signal, sys
    from data_pipeline.produce import producer
    from tests.data_pipeline.produce import made
    owner, name, when, nth, dataset, produce = sys.argv[1:]
    module, _, attribute = owner.partition(":")
    holder = importlib.import_module(module)
    holder = getattr(holder, attribute) if attribute else holder
    original, calls = getattr(holder, name), []
    def wrapped(*args, **kwargs):
        calls.append(1)
        if when == "before" and len(calls) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if when == "after" and len(calls) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(holder, name, wrapped)
    producer.run(made.config(**json.loads(produce)), dataset)
"""
LEDGER = "data_pipeline.mix.ledger:Ledger"
INSTANTS = {
    "validation written": ("data_pipeline.produce.build:Builder", "validation", "after", 1),
    "block chosen": (LEDGER, "record", "before", 2),
    "block noted": (LEDGER, "record", "after", 2),
    "first shard written": ("maxlm.blocks.writer", "_published", "before", 4),
    "before the manifest": ("maxlm.blocks.writer", "save", "before", 3),
    "manifest in place": (LEDGER, "_apply", "before", 2),
    "block counted": (LEDGER, "_apply", "after", 2),
}


def spawn(*arguments):
    """A Python process in the repository's root."""
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish_and_compare(dataset, produced, **produce):
    producer.run(made.config(**produce), dataset)
    assert made.block_bytes(dataset) == made.block_bytes(produced)
    assert (made.open_ledger(dataset).uses() == made.open_ledger(produced).uses()).all()
    assert (made.counted(dataset) == made.counted(produced)).all()


def kill_at(instant, dataset, **produce):
    process = spawn("-c", KILLED_AT, *map(str, INSTANTS[instant]), str(dataset), json.dumps(produce))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, output


@pytest.mark.parametrize("instant", INSTANTS)
def test_killed_at_an_instant(produced, dataset, instant):
    kill_at(instant, dataset)
    finish_and_compare(dataset, produced)


def test_killed_at_one_instant_after_another(prepared, dataset, tmp_path):
    """With rows of several lengths, parts and blocks that grow."""
    produced, varied = made.copy(prepared, tmp_path / "whole"), {**made.VARIED, "num_blocks": 5, "ahead": 5}
    producer.run(made.config(**varied), produced)
    for instant in ("before the manifest", "manifest in place", "block noted"):
        kill_at(instant, dataset, **varied)
    finish_and_compare(dataset, produced, **varied)


def test_killed_again_and_again(produced, dataset):
    """Wherever it happens to be."""
    for delay in (0.0, 0.02, 0.06, 0.12):
        process = spawn("-m", "tests.data_pipeline.produce.made", str(dataset))
        started = time.monotonic()
        while not (dataset / "ledger").exists() and process.poll() is None:
            assert time.monotonic() - started < 30
            time.sleep(0.002)
        time.sleep(delay)
        process.kill()
        process.communicate(timeout=60)
    finish_and_compare(dataset, produced)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(produced, dataset, number):
    process = spawn("-m", "tests.data_pipeline.produce.made", str(dataset), '{"num_blocks": 0}')
    started = time.monotonic()
    while not (dataset / "blocks/block-00000/manifest.json").exists():
        assert time.monotonic() - started < 30
        time.sleep(0.005)
    os.kill(process.pid, number)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert f"stopped by {number.name}" in output
    folders = [path for path in (dataset / "blocks").iterdir() if not (path / "manifest.json").exists()]
    assert folders == []
    finish_and_compare(dataset, produced)


def test_two_producers_refuse(dataset):
    process = spawn("-m", "tests.data_pipeline.produce.made", str(dataset), '{"num_blocks": 0}')
    started = time.monotonic()
    while not (dataset / "blocks/block-00003/manifest.json").exists():
        assert time.monotonic() - started < 30
        time.sleep(0.01)
    second = spawn("-m", "tests.data_pipeline.produce.made", str(dataset))
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 1
    assert "another producer is at work on this data set" in output
    process.kill()
    process.communicate(timeout=20)
    assert producer.run(made.config(), dataset) == 0  # the lock died with its holder


ON_A_SMALL_DISK = """if True:
    import json, os, subprocess, sys
    from pathlib import Path
    from data_pipeline.produce import producer
    from maxlm.errors import DiskFullError
    from tests.data_pipeline.produce import made
    source, mount = map(Path, sys.argv[1:])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(mount)], check=True)
    dataset = made.copy(source, mount / "dataset")
    used = sum(path.stat().st_size for path in dataset.rglob("*") if path.is_file()) // 1024
    told = []
    for room in (0, 100, 150, 250, 400, 700, 1000, 16000):  # KiB beyond the documents
        subprocess.run(["mount", "-o", f"remount,size={used + 60 + room}k", str(mount)], check=True)
        try:
            producer.run(made.config(), dataset)
            break
        except DiskFullError as error:
            told.append(str(error))
            for name in ("blocks", "validation"):
                for folder in (dataset / name).glob("*"):
                    assert (folder / "manifest.json").exists(), folder
    uses = made.open_ledger(dataset).uses()
    assert (uses == made.counted(dataset)).all()
    same = made.block_bytes(dataset) == made.block_bytes(source)
    print(json.dumps({"told": told, "uses": uses.tolist(), "same": same}))
"""


def test_a_full_disk_leaves_nothing_half_written(produced, tmp_path):
    """On a file system of its own that grows from attempt to attempt."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system here; the next test does without")
    command = ["unshare", "-rm", sys.executable, "-c", ON_A_SMALL_DISK, str(produced), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["told"]) >= 2
    assert all("disk full while writing" in line and "run the same command again" in line for line in found["told"])
    assert found["same"]
    assert found["uses"] == made.open_ledger(produced).uses().tolist()


WITH_SMALL_FILES = """if True:
    import resource, sys
    from data_pipeline.produce import producer
    from maxlm.errors import DiskFullError
    from tests.data_pipeline.produce import made
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        producer.run(made.config(), sys.argv[1])
    except DiskFullError as error:
        print(error)
        sys.exit(2)
"""


@pytest.mark.parametrize("largest", [1_000, 30_000, 70_000])
def test_a_file_that_may_not_grow_leaves_nothing_half_written(produced, dataset, largest):
    process = spawn("-c", WITH_SMALL_FILES, str(dataset), str(largest))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "disk full while writing" in output
    unfinished = [path for path in dataset.glob("*/block-*") if not (path / "manifest.json").exists()]
    assert unfinished == []
    finish_and_compare(dataset, produced)
