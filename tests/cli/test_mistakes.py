"""What a person may type or have lying about wrongly: one clear line, exit code 2, no traceback."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train as train_tokenizer
from tests.runs import make_tokenised_dataset, maxlm, maxlm_data, train_line
from tests.synthetic import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_tokenised_dataset(tmp_path_factory.mktemp("data"), rows=8, blocks=2)


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "run"
    done = maxlm(*train_line(dataset, workdir, "--config.data.num_blocks=2"))
    assert done.returncode == 0, done.stderr
    return workdir


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.fixture
def copied(dataset, tmp_path) -> Path:
    shutil.copytree(dataset, tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--config.model.num_layer=4"], ["num_layer", "did you mean 'num_layers'"]),
        (["--config.model.num_layers=four"], ["model.num_layers", "expected int", "'four'"]),
        (["--config.schedule.name=wds"], ["schedule.name", "did you mean 'wsd'"]),
        (["--config.mesh.fsdp=3"], ["fsdp=3", "1 devices"]),
        (["--config.mesh.data=2", "--config.mesh.fsdp=-1"], ["data=2", "does not fit 1 devices"]),
        (["--config.model.num_heads=3"], ["num_heads=3", "num_kv_heads=2"]),
        (["--config.model.attention=flash"], ["attention", "'flash'", "splash"]),
        (["--config.model.vocab_size=999"], ["vocab_size=999", "384"]),
        (["--wrokdir=x"], ["--wrokdir"]),
    ],
)
def test_wrong_words(dataset, tmp_path, more, words):
    assert_one_line(maxlm(*train_line(dataset, tmp_path / "run", *more)), *words)


def test_heads_that_the_tensor_axis_does_not_divide(dataset, tmp_path):
    line = train_line(dataset, tmp_path / "run", "--config.mesh.tensor=4", "--config.mesh.fsdp=1")
    assert_one_line(maxlm(*line, devices=4), "num_kv_heads=2", "tensor=4")


def test_no_such_command():
    assert_one_line(maxlm("trian"), "'trian'", "did you mean 'train'")


def test_missing_config_file_names_the_nearest(tmp_path):
    done = maxlm("train", "--config=configs/quickstrat.py", f"--workdir={tmp_path}")
    assert_one_line(done, "quickstrat.py", "did you mean 'configs/quickstart.py'")


def test_missing_data_set(tmp_path):
    assert_one_line(maxlm(*train_line(tmp_path / "nowhere", tmp_path / "run")), "nowhere", "maxlm-data")


def test_no_data_set_named(tmp_path):
    done = maxlm("train", "--config=configs/base.py", f"--workdir={tmp_path}")
    assert_one_line(done, "config.data.dataset")


def test_corrupt_shard(copied, tmp_path):
    shard = next((copied / "blocks" / "block-00001").glob("*.array_record"))
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    done = maxlm(*train_line(copied, tmp_path / "run", "--config.data.num_blocks=2", "--config.data.wait_s=1"))
    assert_one_line(done, str(shard), "SHA-256", "not finished after 1 s")


def test_manifest_of_another_tokenizer(copied, tmp_path):
    path = copied / "blocks" / "block-00000" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "tokenizer_digest": "f" * 64}))
    assert_one_line(maxlm(*train_line(copied, tmp_path / "run")), str(path), "tokenizer ffffffffffff")


def test_checkpoint_of_another_model_shape(dataset, finished):
    done = maxlm(*train_line(dataset, finished, "--config.data.num_blocks=2", "--config.model.mlp=96"))
    assert_one_line(done, "checkpoints", "mlp 64 → 96")


def test_damaged_checkpoint(dataset, finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    for file in (workdir / "checkpoints" / "4" / "params").rglob("*"):
        if file.is_file() and "d" in file.parts[-2:]:
            file.write_bytes(file.read_bytes()[:10])
    assert_one_line(maxlm("generate", f"--workdir={workdir}", "--prompt=a"), "checkpoints/4", "SHA-256")
    done = maxlm(*train_line(dataset, workdir, "--config.data.num_blocks=3", "--config.data.wait_s=1"))
    assert "checkpoints/4" in done.stdout
    assert "going on from the checkpoint before it" in done.stdout
    assert_one_line(done, "block-00002: not finished")  # block 1 was done once more


def test_rollback_to_a_block_that_has_no_checkpoint(finished):
    done = maxlm("rollback", f"--workdir={finished}", "--to-block=7")
    assert_one_line(done, "no checkpoint after block 7", "0, 1")


def test_a_folder_that_is_no_run(tmp_path):
    for command in (["status"], ["report"], ["rollback", "--to-block=0"], ["eval"], ["generate", "--prompt=a"]):
        assert_one_line(maxlm(command[0], f"--workdir={tmp_path}", *command[1:]), str(tmp_path))


def test_sampling_out_of_range(finished):
    done = maxlm("generate", f"--workdir={finished}", "--prompt=a", "--top-p=1.5")
    assert_one_line(done, "top-p 1.5")


def test_missing_and_empty_corpus(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, word in (("nowhere", "nowhere"), ("empty", "empty")):
        config = f"--config=configs/data/quickstart.py:{tmp_path / folder}"
        assert_one_line(maxlm_data("ingest", config, f"--dataset={tmp_path / 'data'}"), word)


def test_rows_that_are_no_documents_are_counted_and_the_rest_goes_on(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rows = [json.dumps({"text": f"A whole document, number {i}, about the sea."}) for i in range(5)]
    rows[1], rows[3] = "{not json", json.dumps({"title": "no text here"})
    (corpus / "rows.jsonl").write_text("\n".join(rows))
    (corpus / "latin.txt").write_bytes("café".encode("latin-1"))
    config = f"--config=configs/data/quickstart.py:{corpus}"
    done = maxlm_data("ingest", config, f"--dataset={tmp_path / 'data'}")
    assert done.returncode == 0, done.stderr
    shown = maxlm_data("inspect", f"--dataset={tmp_path / 'data'}", "--quarantine")
    assert shown.returncode == 0, shown.stderr
    assert "rows.jsonl" in shown.stdout
    assert "latin.txt" in shown.stdout
    assert "3 documents; 3 pieces of input in quarantine" in done.stdout + done.stderr


def test_a_run_keeps_its_tokenizer(finished, tmp_path):
    """A resume on a data set of another tokenizer would leave older checkpoints unreadable."""
    other = make_tokenised_dataset(tmp_path / "other", rows=8, blocks=2)
    info = json.loads((other / "tokenizer" / "tokenizer_info.json").read_text())
    assert info["spare_tokens"] == 60
    settings = TokenizerSettings(vocab_size=384, spare_tokens=80)
    retrained = train_tokenizer(iter(["quite another text " * 50]), other / "tokenizer", settings)
    make_dataset(other, vocab=384, digest=retrained.digest, rows=8, blocks=2)
    done = maxlm(*train_line(other, finished, "--config.data.num_blocks=2"))
    assert_one_line(done, "not the tokenizer", str(finished))


def test_a_config_file_with_a_mistake_in_it(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return undefined_name\n")
    done = maxlm("train", f"--config={tmp_path / 'mine.py'}", f"--workdir={tmp_path / 'run'}")
    assert_one_line(done, "mine.py, line 2", "undefined_name")


def test_a_corpus_that_holds_nothing_out(copied, tmp_path):
    shutil.rmtree(copied / "validation")
    done = maxlm(*train_line(copied, tmp_path / "run"))
    assert_one_line(done, "holds nothing out", "eval_every_blocks=0")
