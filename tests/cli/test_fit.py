"""`maxlm fit` as typed, and a plan by its law."""

import json
from pathlib import Path

import pytest

from maxlm.cli.main import main

POINTS = str(Path(__file__).parents[1] / "maxlm" / "scaling" / "chinchilla_points.csv")


def test_a_fit_and_a_plan_by_it(capsys, tmp_path):
    out, page = tmp_path / "fit.json", tmp_path / "fit.html"
    assert main(["fit", f"--data={POINTS}", "--drop-highest=5", f"--out={out}", f"--page={page}"]) == 0
    said = capsys.readouterr().out
    assert "best N grows as C^0.514" in said
    assert "held out: 48 foretold" in said
    assert json.loads(out.read_text())["constants"]["alpha"] == pytest.approx(0.34731, abs=1e-4)
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "http-equiv" not in text
    assert "<script" not in text
    assert main(["plan", "--flops=5.76e23", f"--fit={out}", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["parameters"] == pytest.approx(7.2e10, rel=0.03)  # replication: 7.2249e10 by its own constants
    low, high = plan["loss_interval"]
    assert low < plan["loss"] < high
    assert high - low < 0.1


def test_isoflop(capsys):
    assert main(["fit", f"--data={POINTS}", "--drop-highest=5", "--kind=isoflop"]) == 0
    assert "C^exponent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--data=nowhere.csv"], "nowhere.csv: no such file"),
        ([f"--data={POINTS}", "--kind=mixture"], "no columns share/DOMAIN"),
        ([f"--data={POINTS}", "--kind=learning_rate"], "no column 'learning_rate' (or lr)"),
        ([f"--data={POINTS}", "--kind=downstream"], "--task"),
        ([f"--data={POINTS}", "--columns=params"], "pairs NAME=VALUE"),
        ([f"--data={POINTS}", "--hold-out=2"], "--hold-out=2.0"),
        ([f"--data={POINTS}", "--drop-highest=240"], "5 points"),
        ([f"--data={POINTS}", "--where=size=3"], "no column 'size'"),
        ([f"--data={POINTS}", "--config.a=3"], "takes no --config"),
    ],
)
def test_mistakes(capsys, line, words):
    assert main(["fit", *line]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert words in said
