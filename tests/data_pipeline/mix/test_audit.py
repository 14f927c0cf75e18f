"""A ledger that disagrees with the blocks is told before anything is made, with the way out; as typed."""

import json
import shutil
import subprocess
import sys

import pytest

from data_pipeline.mix import audit
from data_pipeline.produce import producer
from maxlm.errors import DataError
from tests.data_pipeline.produce import made


@pytest.fixture
def run(produced, tmp_path):
    """A data set of four blocks to spoil."""
    shutil.copytree(produced, tmp_path / "run")
    return tmp_path / "run"


def typed(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "data_pipeline.cli", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def test_it_agrees_as_it_was_made(run):
    done = typed("ledger", f"--dataset={run}")
    assert done.returncode == 0, done.stderr
    assert "4 blocks counted, 80 documents" in " ".join(done.stdout.split())
    assert typed("ledger", f"--dataset={run}", "--rebuild").stdout.startswith("ledger: ")


def test_a_block_that_was_never_planned(run):
    (run / "ledger/plans/0000002.json").unlink()
    with pytest.raises(DataError, match=r"block-00002: .*ledger has no plan of block 2: bring back the ledger"):
        producer.run(made.config(), run)
    shutil.rmtree(run / "ledger")
    with pytest.raises(DataError, match=r"block-00000: .*ledger has no plan of block 0"):
        producer.run(made.config(num_blocks=9, ahead=9), run)
    assert not (run / "blocks/block-00004").exists()


def test_a_manifest_with_another_place_in_the_journal(run):
    path = run / "blocks/block-00001/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"selection": [5, manifest["documents"] + 5]}))
    with pytest.raises(DataError, match=r"block-00001: its manifest says documents 5–\d+ of the journal, and "):
        producer.run(made.config(num_blocks=9, ahead=9), run)


def test_uses_that_are_not_the_journals(run):
    uses = made.open_ledger(run).uses().tolist()
    for chunk in (run / "ledger/uses").rglob("c/0"):
        chunk.unlink()
    done = typed("ledger", f"--dataset={run}")
    assert done.returncode == 2
    assert "0 uses are counted, and the 4 blocks that count have" in done.stderr
    assert "maxlm-data ledger --rebuild" in done.stderr
    with pytest.raises(DataError, match="uses are counted"):
        producer.run(made.config(num_blocks=5, ahead=9), run)
    assert "blocks counted anew" in audit.rebuild(run)
    assert made.open_ledger(run).uses().tolist() == uses
    assert producer.run(made.config(num_blocks=5, ahead=9), run) == 1


def test_no_ledger(tmp_path):
    done = typed("ledger", f"--dataset={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no ledger; maxlm-data produce begins one" in done.stderr
