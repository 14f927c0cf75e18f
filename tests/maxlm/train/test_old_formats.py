"""Files that earlier versions wrote are read, and a run of theirs goes on as they would have gone on.

tests/fixtures/format-N.tar.xz was written by the code of that time: a data set of two blocks, and a run over the first
(embed 8, two layers). 1: blocks of format 1, checkpoints without digests. 2: blocks of 2, checkpoints of format 1
with digests. 3: the present formats. When one changes, all fixtures stay, and one of the new version joins them.
"""

import hashlib
import json
import tarfile

import pytest

from data_pipeline.mix.ledger import Ledger
from maxlm.blocks.reader import BlockStore
from maxlm.errors import CheckpointError, DataError
from maxlm.paths import read_json
from maxlm.report.collect import collect_run
from maxlm.train.checkpoint import Checkpoints, Position
from maxlm.train.history import journal_of, trained_blocks
from tests.house.modules import ROOT
from tests.runs import maxlm

VERSIONS = {1: (1, 1), 2: (2, 1), 3: (2, 2)}  # fixture -> formats of its blocks and its checkpoints
ROWS = "c36683bf669bcf5d0709057eb1ac7e5bb9c3ac3f018852e3758fab130c7b26b3"  # SHA-256 of both blocks' records
PARAMS = "b84d944a7a48056976acd806113fe2cdcbef88beb56547a4cc0e3e68a34d524d"  # of names and values, by name
# What the code of that time found in the next block, having been stopped after the first.
LOSSES = [5.964517116546631, 5.917714595794678, 5.9622392654418945, 5.929870128631592]
VALIDATION = [5.931424347559611, 5.878304862976075]


@pytest.fixture(params=VERSIONS)
def old(request, tmp_path):
    """((format of blocks, of checkpoints), folder with data/ and run/)"""
    with tarfile.open(ROOT / "tests" / "fixtures" / f"format-{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return VERSIONS[request.param], tmp_path


def test_blocks(old):
    (version, _), folder = old
    store, digest = BlockStore(folder / "data"), hashlib.sha256()
    assert store.info.format_version == version
    for block in store.finished():
        assert store.verify(block).format_version == version
        records = store.source(block)
        digest.update(b"".join(records.__getitems__(list(range(len(records))))))
    assert digest.hexdigest() == ROWS


def test_checkpoints_and_journals(old):
    checkpoints, digest = Checkpoints(old[1] / "run"), hashlib.sha256()
    assert checkpoints.steps() == [4]
    assert checkpoints.meta(4).position == Position(step=4, blocks_done=1, block=1, batch=0, finished_block=0)
    assert checkpoints.meta(4).format_version == old[0][1]
    assert checkpoints.config(4).model.embed == 8
    stored, _ = checkpoints.stored(4)
    for name in sorted(stored.names):
        digest.update(name.encode() + stored.read(name).tobytes())
    checkpoints.close()
    assert digest.hexdigest() == PARAMS
    assert trained_blocks(journal_of(old[1] / "run")) == [0]
    assert collect_run(old[1] / "run").blocks[0].validation_loss == pytest.approx(VALIDATION[0])


def test_a_run_goes_on(old):
    folder = old[1]
    sizes = read_json(folder / "run" / "config.json", "config")["model"]
    line = [f"--config.model.{key}={sizes[key]}" for key in ("embed", "num_layers", "num_heads", "num_kv_heads", "mlp")]
    schedule = ["--config.schedule.warmup_share=0", "--config.schedule.decay_share=0"]
    done = maxlm(
        "train", "--config=configs/base.py", f"--workdir={folder / 'run'}", f"--config.data.dataset={folder / 'data'}",
        *line, *schedule, "--config.model.head_dim=4", "--config.train.batch=4", "--config.train.log_every=1",
        "--config.optimizer.learning_rate=0.01", "--config.data.num_blocks=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = collect_run(folder / "run")
    assert [line["loss"] for line in record.metrics][4:] == pytest.approx(LOSSES, abs=1e-5)
    assert [line["validation/loss"] for line in record.validation] == pytest.approx(VALIDATION, abs=1e-5)


def test_newer_versions_are_refused(tmp_path):
    with tarfile.open(ROOT / "tests" / "fixtures" / "format-3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (path,) = tmp_path.glob("run/checkpoints/4/meta/metadata")
    for file in (path, *tmp_path.glob("data/blocks/*/manifest.json"), tmp_path / "data" / "dataset.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": 3}))
    checkpoints = Checkpoints(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"checkpoints/4: format 3, and this program reads up to 2; update maxlm"):
        checkpoints.meta(4)
    checkpoints.close()
    with pytest.raises(DataError, match="data set format 3; this program reads 1 to 2"):
        BlockStore(tmp_path / "data")
    with pytest.raises(DataError, match=r"ledger\.json: format 3; this program reads 2"):
        _ledger(tmp_path / "a", {"digest": "x", "documents": 3, "format_version": 3})
    with pytest.raises(DataError, match="one database, the format before"):  # would begin anew, and forget all uses
        _ledger(tmp_path / "b", None)
    assert _ledger(tmp_path / "c", {"digest": "x", "documents": 3}).uses().tolist() == [0, 0, 0]


def _ledger(dataset, described):
    """The ledger of a data set whose ledger.json holds that; None: a database stands there instead."""
    (dataset / "ledger").mkdir(parents=True)
    if described is None:
        (dataset / "ledger" / "manifest.ocdbt").write_bytes(b"")
    else:
        (dataset / "ledger" / "ledger.json").write_text(json.dumps(described))
    return Ledger(dataset, "x", 3)
