"""A file system that is really full, while a run writes its folder or its checkpoints."""

import shlex
import subprocess

import pytest

from tests.runs import ROOT, command, environment, make_tokenised_dataset, maxlm, train_line

MORE = ("--config.data.num_blocks=3", "--config.train.eval_every_blocks=0")


def on_small_disk(folder, size: str, line: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs `maxlm …` with a file system of this size mounted at `folder`, in a mount namespace of its own."""
    mount = f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))}"
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec {shlex.join(command(line))}"],
        env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tokenised_dataset(tmp_path_factory.mktemp("data"), rows=16, blocks=3)


def may_mount() -> bool:
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    try:
        return subprocess.run(probe, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not may_mount(), reason="this machine lets nobody mount a file system, even in a namespace")
@pytest.mark.parametrize("size", ["8k", "400k"])  # full at once, and full at a checkpoint
def test_full_disk_is_one_line_and_leaves_no_half_checkpoint(dataset, tmp_path, size):
    disk = tmp_path / "disk"
    disk.mkdir()
    done = on_small_disk(disk, size, train_line(dataset, disk / "run", *MORE))
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert "disk full" in lines[0]
    assert str(disk / "run") in lines[0]


def test_a_run_goes_on_once_there_is_space_again(dataset, tmp_path):
    """What a full disk left behind is no obstacle: an unfinished checkpoint is passed over."""
    workdir = tmp_path / "run"
    (workdir / "checkpoints" / "4.orbax-checkpoint-tmp" / "params").mkdir(parents=True)
    (workdir / "checkpoints" / "4.orbax-checkpoint-tmp" / "params" / "half").write_bytes(b"\0" * 100)
    done = maxlm(*train_line(dataset, workdir, *MORE))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()) == ["12", "4", "8"]
