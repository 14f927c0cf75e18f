"""Faults of the data process and of what it made. Each returns, in words, what happened, with the run finished."""

import fcntl
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

from tests.faults.case import BLOCKS, Case, damage, kill
from tests.runs import ROOT, environment


def producer_killed(case: Case) -> str:
    process = case.start(case.producing())
    time.sleep(0.5 + case.rng.random() * 1.5)
    kill(process)
    there = len(list((case.dataset / "blocks").glob("*/manifest.json")))
    case.produced()
    case.finish(case.training())
    return f"kill -9 with {there} of {BLOCKS} blocks finished"


def producer_killed_at_a_manifest(case: Case) -> str:
    process = case.start(case.producing())
    blocks = case.dataset / "blocks"
    case.until(process, lambda: any(blocks.glob("*/manifest.json*")))
    kill(process)
    case.produced()
    case.finish(case.training())
    return "kill -9 in the moment in which a manifest was written or renamed"


def shard_damaged(how: str) -> Callable[[Case], str]:
    def fault(case: Case) -> str:
        case.produced()
        damage(next((case.dataset / "blocks" / "block-00001").glob("*.array_record")), how, case.rng)
        trainer = case.start(case.training())
        case.until(trainer, lambda: (case.dataset / "damaged").exists())
        case.produced()
        output, _ = trainer.communicate(timeout=300)
        assert trainer.returncode == 0, output[-2000:]
        return f"a shard {how}: set aside by the trainer, made again by the producer, read"

    return fault


def manifest_deleted(case: Case) -> str:
    case.produced()
    (case.dataset / "blocks" / "block-00002" / "manifest.json").unlink()
    trainer = case.start(case.training())
    case.until(trainer, lambda: case.steps() >= 16)
    case.produced()
    output, _ = trainer.communicate(timeout=300)
    assert trainer.returncode == 0, output[-2000:]
    return "a manifest deleted: the block counts as unfinished, and is made again"


def producer_asked_to_stop(case: Case) -> str:
    process = case.start(case.producing())
    blocks = case.dataset / "blocks"
    case.until(process, lambda: any(blocks.glob("*/manifest.json")))
    code = kill(process, signal.SIGTERM)
    there = len(list(blocks.glob("*/manifest.json")))
    assert code == 0, code
    case.produced()
    case.finish(case.training())
    return f"SIGTERM: exit code 0, with {there} of {BLOCKS} blocks finished"


def second_producer(case: Case) -> str:
    """The first is held still, with the data set in its hands, until the second has been refused."""
    first, lock = case.start(case.producing()), case.dataset / "producer.lock"

    def is_held() -> bool:
        if not lock.exists():
            return False
        with open(lock) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    case.until(first, is_held)
    first.send_signal(signal.SIGSTOP)
    second = case.start(case.producing())
    output, _ = second.communicate(timeout=120)
    first.send_signal(signal.SIGCONT)
    assert second.returncode == 2, output
    assert "another producer is at work on this data set" in output, output
    said, _ = first.communicate(timeout=300)
    assert first.returncode == 0, said
    case.finish(case.training())
    return "a second producer on the same data set: refused in one line, exit code 2; the first one goes on"


def disk_full_for(folder: str, size: str) -> Callable[[Case], str]:
    """A file system of `size` is mounted where the producer writes `folder`; what it held is there again afterwards."""

    def fault(case: Case) -> str:
        place, kept = case.dataset / folder, case.folder / "kept"
        place.mkdir(exist_ok=True)
        mount = f"mount -t tmpfs -o size={size} none {place}"
        line = shlex.join(case.producing())
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"{mount} && {{ {line}; code=$?; cp -r {place} {kept}; exit $code; }}"],
            env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        (said,) = [text for text in done.stderr.splitlines() if text.startswith("error:")]
        assert "disk full" in said, done.stderr
        place.rmdir()
        shutil.copytree(kept, place)
        case.produced()
        case.finish(case.training())
        return f"disk full while the producer wrote its {folder}: one line and exit code 2; with space again it goes on"

    return fault


def description_deleted(case: Case) -> str:
    case.produced()
    (case.dataset / "dataset.json").unlink()
    case.produced()
    case.finish(case.training())
    return "dataset.json deleted: the producer writes it again; the blocks that stand stay"


def index_damaged(case: Case) -> str:
    """The index is derived from the documents: whoever removes it loses nothing."""
    case.produced()
    shutil.rmtree(case.dataset / "blocks" / f"block-{BLOCKS - 1:05d}")
    for path in (case.dataset / "index").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused = case.start(case.producing())
    output, _ = refused.communicate(timeout=120)
    assert refused.returncode == 2, output
    assert f"remove {case.dataset / 'index'}, it is made again" in output, output
    shutil.rmtree(case.dataset / "index")
    case.produced()
    case.finish(case.training())
    return "the index of documents cut short: one line and exit code 2; removed, it is made again, and a block with it"
