"""Stages and branches as a person types them."""

import json

import pytest

from tests.runs import make_tokenised_dataset, maxlm, train_line

STAGES = '[{"name": "stable", "blocks": 2}, {"name": "anneal", "changes": {"schedule.name": "linear"}}]'


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_tokenised_dataset(tmp_path_factory.mktemp("data"), blocks=4, rows=8, seq_len=16)


def test_a_run_of_two_stages_and_a_branch(dataset, tmp_path):
    run, branch = tmp_path / "run", tmp_path / "branch"
    done = maxlm(*train_line(dataset, run, f"--config.stages={STAGES}", "--config.data.num_blocks=3"))
    assert done.returncode == 0, done.stderr
    assert "stage anneal: from step 4, block 2, 2 steps" in done.stdout
    shown = maxlm("status", f"--workdir={run}").stdout
    assert "anneal" in shown
    line = train_line(dataset, branch, f"--config.stages={STAGES}", "--config.data.num_blocks=4", f"--from={run}")
    done = maxlm(*line, "--from-step=2", "--stage=anneal")
    assert done.returncode == 0, done.stderr
    assert "stage anneal: from step 2, block 1, 6 steps" in done.stdout
    assert "finished: 8 steps, 4 blocks" in done.stdout
    assert json.loads((branch / "config.json").read_text())["branch"]["stage"] == "anneal"
    assert "4 of 4" in maxlm("status", f"--workdir={branch}").stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stage=anneal"], "--from-step, --stage and --fresh need --from=RUN"),
        (["--from=/nowhere"], "--from=/nowhere: not a run (no checkpoints)"),
        (["--config.stages=[1]"], "config.stages[0]: expected a group of keys, found 1"),
        (
            ['--config.stages=[{"name": "a", "block": 2}]'],
            "stages[0].block: unknown key; did you mean 'blocks'?",
        ),
    ],
)
def test_mistakes(dataset, tmp_path, more, message):
    done = maxlm(*train_line(dataset, tmp_path / "run", *more))
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
