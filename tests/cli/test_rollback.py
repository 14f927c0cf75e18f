"""Going back and forth as a person types it, and asking what the run was trained on."""

import pytest

from tests.runs import make_tokenised_dataset, maxlm, train_line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rollback")
    dataset = make_tokenised_dataset(folder / "data", blocks=5, rows=8, seq_len=16)
    line = train_line(dataset, folder / "run", "--config.data.num_blocks=3", "--config.train.eval_every_blocks=0")
    done = maxlm(*line)
    assert done.returncode == 0, done.stderr
    return folder / "run", line


def test_a_day_of_a_run(trained):
    workdir, line = trained

    def back(*more: str) -> str:
        done = maxlm("rollback", f"--workdir={workdir}", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    tokens = 8 * 17  # of a block
    shown = back("--to-block=0", "--skip", "--lr-scale=0.5", "--dry-run")
    assert "would go back from step 6 to step 2 (after block 0)" in shown
    assert f"undone: 4 steps; finished blocks 1, 2: {2 * tokens} tokens, 2 documents, 0.00 hours" in shown
    assert "left out from now on: block 1" in shown
    assert "learning rate from there on: times 0.5" in shown
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["2", "4", "6"]
    back("--to-block=0", "--skip", "--lr-scale=0.5")
    assert "step 6 again, as before the rollback to 2" in back("--undo")
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["2", "4", "6"]
    back("--to-block=0", "--skip")
    done = maxlm(*line)
    assert done.returncode == 0, done.stderr
    shown = maxlm("status", f"--workdir={workdir}", "--data").stdout
    assert "--blocks=0,2,3 --list=documents.parquet" in shown
    assert "left out: block 1" in shown
    assert f"{3 * tokens}" in shown
    assert "--blocks=0,2 " in maxlm("status", f"--workdir={workdir}", "--data", "--step=5").stdout
    assert "MB freed" in back("--prune")
    assert not (workdir / "rolled_back").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--to-block=7"], "no checkpoint after block 7; there are ones after: 0"),
        (["--to-block=0", "--skip", "--redraw"], "not allowed with argument --skip"),
        (["--to-block=0", "--lr-scale=0"], "--lr-scale=0.0: give a factor above 0"),
        (["--undo", "--skip"], "--skip, --redraw and --lr-scale go with --to-block"),
        ([], "one of the arguments --to-block --undo --prune is required"),
    ],
)
def test_mistakes(trained, more, message):
    done = maxlm("rollback", f"--workdir={trained[0]}", *more)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
