"""A model on its way through the commands as typed: trained, out, in again, trained on, averaged; and mistakes."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maxlm.cli.main import main
from tests import decoders
from tests.runs import make_tokenised_dataset, maxlm, train_line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A data set, a run trained on two blocks of it with an average, and its model as a folder."""
    folder = tmp_path_factory.mktemp("interop")
    dataset = make_tokenised_dataset(folder / "data", blocks=2)
    done = maxlm(*train_line(dataset, folder / "run", "--config.data.num_blocks=2", "--config.optimizer.ema_decay=0.5"))
    assert done.returncode == 0, done.stderr
    assert main(["export", f"--workdir={folder / 'run'}", f"--to={folder / 'out'}"]) == 0
    return folder


def _tensors(folder) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def test_in_again_and_on(run, tmp_path, capsys):
    """The imported run writes what the first one does, goes on training from its loss, and leaves as it came."""
    done = maxlm("import", f"--from={run / 'out'}", f"--workdir={tmp_path / 'run'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "llama" in done.stdout
    assert "checkpoint of step 0" in done.stdout
    texts = []
    for folder in (run / "run", tmp_path / "run"):
        assert main(["generate", f"--workdir={folder}", "--prompt=the", "--temperature=0", "--max-tokens=12"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != ""
    assert main(["export", f"--workdir={tmp_path / 'run'}", f"--to={tmp_path / 'out'}"]) == 0
    for name, value in _tensors(run / "out").items():
        np.testing.assert_array_equal(_tensors(tmp_path / "out")[name], value)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert json.loads((tmp_path / "out" / name).read_text()) == json.loads((run / "out" / name).read_text())

    done = maxlm(*train_line(run / "data", tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    journal = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    assert [event["event"] for event in journal[:2]] == ["imported", "run_started"]
    first, last = (
        [event["validation/loss"] for event in map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
         if event["event"] == "evaluated"]
        for folder in (run / "run", tmp_path / "run")
    )  # fmt: skip
    assert last[0] == pytest.approx(first[-1], abs=1e-4)  # before its first step
    assert last[-1] < first[-1] < first[0]


def test_the_average_goes_out_too(run, tmp_path):
    where = f"--workdir={run / 'run'}"
    assert main(["export", where, f"--to={tmp_path / 'out'}", "--average"]) == 0
    average, last = _tensors(tmp_path / "out"), _tensors(run / "out")
    assert average.keys() == last.keys()
    assert min(np.abs(average[name] - last[name]).max() for name in last) > 1e-4
    for command in (["generate", "--prompt=a", "--max-tokens=4"], ["eval", "--config.mesh.tensor=2"]):
        assert main([command[0], where, "--average", *command[1:]]) == 0


def test_a_prompt_line(run, capsys):
    line = ["generate", f"--workdir={run / 'run'}", "--interactive", "--max-tokens=8", "--temperature=0"]
    done = maxlm(*line, typed="the quick\n\nfox\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert main([*line[:2], "--prompt=the quick", *line[3:]]) == 0
    alone = capsys.readouterr().out
    assert alone.count("\n") == 1
    assert done.stdout.startswith(alone)
    assert done.stdout[len(alone) :].startswith("fox")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import --from={out} --workdir={run}", "holds checkpoints already; name a new --workdir"),
        ("import --from={none} --workdir={new}", "none/config.json: no such file"),
        ("import --from={bare} --workdir={new}", "neither tokenizer.model nor tokenizer.json; --tokenizer names"),
        ("import --from={code} --workdir={new}", "auto_map: the model needs code of its own, which is not run"),
        ("export --workdir={run} --to={out}", "not empty; name a new folder"),
        ("export --workdir={new} --to={new}", "no checkpoints"),
        ("export --workdir={run} --to={new} --step=3", "no checkpoint of step 3"),
        ("export --workdir={run} --to={new} --max-length=0", "--max-length: 0 is not positive"),
        ("generate --workdir={run}", "give --prompt=TEXT, or --interactive and type the prompts"),
        ("generate --workdir={run} --prompt=a --min-p=2", "min-p 2.0 must be in [0, 1]"),
        (
            "generate --workdir={run} --prompt=a --config.mesh.context=2",
            "context=2: generation splits by data, fsdp and tensor alone",
        ),
    ],
)
def test_mistakes(run, tmp_path, capsys, line, message):
    shutil.copytree(run / "out", tmp_path / "code")
    (tmp_path / "code" / "config.json").write_text(json.dumps(decoders.CONFIGS["llama"] | {"auto_map": {"A": "b.C"}}))
    bare = decoders.save(tmp_path / "bare", "llama", decoders.weights("llama"))
    places = {"out": run / "out", "run": run / "run", "new": tmp_path / "new", "none": tmp_path / "none", "bare": bare}
    assert main(line.format(**places, code=tmp_path / "code").split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "new" / "journal.jsonl").exists()


def test_an_import_that_failed_midway_can_be_repeated(run, tmp_path, capsys):
    """A tensor of another shape shows when it is read; nothing of the try is taken for a checkpoint."""
    shutil.copytree(run / "out", tmp_path / "bad")
    tensors = _tensors(run / "out")
    save_file(tensors | {"model.norm.weight": np.ones(3, np.float32)}, tmp_path / "bad" / "model.safetensors")
    assert main(["import", f"--from={tmp_path / 'bad'}", f"--workdir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err
    assert "tensor 'model.norm.weight' has shape [3]; by config.json it should be [32]" in said
    assert said.count("\n") == 1
    assert main(["generate", f"--workdir={tmp_path / 'run'}", "--prompt=a"]) == 2
    assert main(["import", f"--from={run / 'out'}", f"--workdir={tmp_path / 'run'}"]) == 0
    assert main(["generate", f"--workdir={tmp_path / 'run'}", "--prompt=a", "--max-tokens=3"]) == 0


def test_benchmarks(run, tmp_path, capsys):
    rows = [{"text": f"the quick brown fox {word}"} for word in ("jumps", "sleeps", "by")]
    (tmp_path / "lambada.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["eval", f"--workdir={run / 'run'}", f"--samples={tmp_path / 'said.jsonl'}"]
    assert main([*line, f"--tasks=lambada:{tmp_path / 'lambada.jsonl'}", "--limit=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    said = [json.loads(text) for text in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert len(said) == 2
    assert found["lambada"]["acc"] == np.mean([one["acc"] for one in said])
    assert found["lambada"]["perplexity"] == pytest.approx(np.exp(-np.mean([one["nats"][0] for one in said])))
    assert main([*line, f"--tasks=lambada:{tmp_path / 'lambada.jsonl'}"]) == 0
    assert "perplexity" in capsys.readouterr().out
    for more, message in (
        (["--tasks=lambda:x"], "no reader for 'lambda'; did you mean 'lambada'?"),
        (["--tasks=lambada"], "--tasks=lambada: needs its file (lambada:PATH)"),
        ([f"--tasks=arc:{tmp_path / 'none'}"], "none: no such file (arc)"),
        (
            [f"--tasks=lambada:{tmp_path / 'lambada.jsonl'}", "--shots=3"],
            "--shots=3: the benchmark comes with 0 to show",
        ),
        (["--tasks=,"], "--tasks: names no task"),
        (["--tasks=x", "--batch=0"], "--batch: 0 is not positive"),
    ):
        assert main([*line, *more]) == 2
        assert message in capsys.readouterr().err
