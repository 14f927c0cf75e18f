"""What a run shows of itself: sums over windows, lines in files, words on the terminal."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from maxlm.errors import UserError
from maxlm.train.metrics import MetricsWriter, ProgressLine, Window


def _metrics(loss: float = 2.0, grad_norm: float = 1.0, nll=(6.0, 0.0), tokens=(3.0, 0.0)):
    return {
        "loss": np.float32(loss), "grad_norm": np.float32(grad_norm), "learning_rate": np.float32(0.5),
        "domain_nll": np.array(nll), "domain_tokens": np.array(tokens),
    }  # fmt: skip


def test_windows_take_means_over_steps_and_tokens():
    window = Window(("code", "en"))
    window.add(1, _metrics(loss=2.0, grad_norm=1.0, nll=(6.0, 0.0), tokens=(3.0, 0.0)), tokens=100, flops=5000)
    window.add(2, _metrics(loss=4.0, grad_norm=3.0, nll=(9.0, 0.0), tokens=(2.0, 0.0)), tokens=100, flops=7000)
    values = window.scalars(peak=1e6, wait_share=0.25)
    assert values["loss"] == 3.0
    assert values["grad_norm"] == 2.0
    assert values["learning_rate"] == 0.5
    assert values["loss/code"] == 15 / 5
    assert "loss/en" not in values  # of which no token was seen
    assert values["data_wait_share"] == 0.25
    assert values["mfu"] == pytest.approx(values["tokens_per_s"] * 60 / 1e6)


@pytest.mark.parametrize("bad", [{"loss": np.nan}, {"loss": np.inf}, {"grad_norm": np.nan}, {"grad_norm": -np.inf}])
def test_what_is_not_finite_stops_the_run(bad):
    with pytest.raises(UserError, match=r"step 7: loss .*diverged .* lower config\.optimizer\.learning_rate, or roll"):
        Window(("code", "en")).add(7, _metrics(**bad), 1, 1)


def test_lines_survive_restarts_and_a_torn_end(tmp_path):
    path = tmp_path / "metrics" / "metrics.jsonl"
    first = MetricsWriter(tmp_path, 0)
    first.write(10, {"loss": 1.5})
    first.close()
    path.write_text(path.read_text() + '{"step": 20, "lo')  # power cut
    second = MetricsWriter(tmp_path, 10)
    second.write(20, {"loss": 1.25})
    second.close()
    lines = path.read_text().splitlines()
    assert lines.pop(2) == '{"step": 20, "lo'
    assert [json.loads(line) for line in lines] == [
        {"begins_after": 0}, {"step": 10, "loss": 1.5}, {"begins_after": 10}, {"step": 20, "loss": 1.25},
    ]  # fmt: skip
    assert len(list((tmp_path / "metrics").glob("events.out.tfevents.*"))) >= 1


def test_without_a_terminal_every_update_is_a_line():
    out = io.StringIO()
    line = ProgressLine(Console(file=out, width=40), total_steps=100, done=0)
    scalars = {
        "loss": 2.5, "loss/en": 2.25, "learning_rate": 3e-4, "grad_norm": 0.5, "tokens_per_s": 12345.6, "mfu": 0.321,
        "data_wait_share": 0.001,
    }  # fmt: skip
    line.update(10, 2, scalars)
    line.say("block 2 finished")
    line.close()
    assert out.getvalue().splitlines() == [
        "step 10/100 · block 2 · loss 2.5000 (en 2.250) · lr 3.00e-04 · grad 0.50 · 12,346 tokens/s · MFU 32.1% · "
        "data wait 0.10%",
        "block 2 finished",
    ]
