"""What a run shows of itself: sums over windows, lines in files, words on the terminal."""

import io
import json
import time

import numpy as np
import pytest
from rich.console import Console

from maxlm.models.cost import Flops
from maxlm.monitor.clock import Clock
from maxlm.train.metrics import MetricsWriter, ProgressLine, Window


def _metrics(loss: float = 2.0, grad_norm: float = 1.0, nll=(6.0, 0.0), tokens=(3.0, 0.0)):
    return {
        "loss": np.float32(loss), "grad_norm": np.float32(grad_norm), "learning_rate": np.float32(0.5), "step_s": 0.25,
        "skipped": 0.0,
        "domain_nll": np.array(nll), "domain_tokens": np.array(tokens),
    }  # fmt: skip


def test_windows_take_means_over_steps_and_tokens():
    window = Window(("code", "en"), devices=4)
    window.add(_metrics(loss=2.0, grad_norm=1.0, nll=(6.0, 0.0), tokens=(3.0, 0.0)), 100, Flops(5000, 6000, 4000))
    window.add(_metrics(loss=4.0, grad_norm=3.0, nll=(9.0, 0.0), tokens=(2.0, 0.0)), 100, Flops(7000, 9000, 4000))
    values = window.scalars(peak=1e6, wait_share=0.25)
    assert values == {
        "loss": 3.0, "grad_norm": 2.0, "learning_rate": 0.5, "loss/code": 15 / 5,  # of en no token was seen
        "tokens_per_s": 200 / 0.5, "tokens_per_s_device": 200 / 0.5 / 4, "data_wait_share": 0.25,
        "mfu": 12000 / 0.5 / 1e6, "mfu_square": 15000 / 0.5 / 1e6, "mfu_no_attention": 8000 / 0.5 / 1e6,
    }  # fmt: skip


def test_what_was_not_applied_counts_in_no_mean():
    window = Window(("code", "en"))
    window.add(_metrics(loss=2.0, nll=(6.0, 0.0)), 100, Flops(1, 1, 1))
    window.add(_metrics(loss=np.nan, nll=(np.nan, np.nan)) | {"skipped": 1.0}, 100, Flops(1, 1, 1))
    values = window.scalars(peak=1e6, wait_share=0.0)
    assert (values["loss"], values["grad_norm"], values["loss/code"], values["skipped"]) == (2.0, 1.0, 2.0, 1)
    assert values["tokens_per_s"] == 200 / 0.5


def test_lines_survive_restarts_and_a_torn_end(tmp_path):
    path = tmp_path / "metrics" / "metrics.jsonl"
    first = MetricsWriter(tmp_path, 0, Clock(age_s=5))
    first.write(10, {"loss": 1.5})
    first.write(10, {"validation/loss": 1.5}, ends_window=False)
    path.write_text(path.read_text() + '{"step": 20, "lo')  # power cut
    second = MetricsWriter(tmp_path, 10, Clock())
    second.write(20, {"loss": 1.25})
    second.close()
    first.close()
    lines = path.read_text().splitlines()
    assert lines.pop(3) == '{"step": 20, "lo'
    lines = [json.loads(line) for line in lines]
    assert 5 <= lines[0]["spent"].pop("start") < 6
    assert lines[3]["spent"].pop("start") < 1
    written = [line.pop("time") for line in lines if "time" in line]
    assert written == pytest.approx([time.time()] * 6, abs=60)
    assert lines == [
        {"begins_after": 0, "spent": {}}, {"step": 10, "loss": 1.5, "spent": {}}, {"step": 10, "validation/loss": 1.5},
        {"begins_after": 10, "spent": {}}, {"step": 20, "loss": 1.25, "spent": {}},
        {"ends": True, "spent": {}}, {"ends": True, "spent": {}},
    ]  # fmt: skip
    assert len(list((tmp_path / "metrics").glob("events.out.tfevents.*"))) >= 1


def test_tensorboard_has_the_scalars(tmp_path):
    writer = MetricsWriter(tmp_path, 0, Clock())
    writer.write(10, {"loss": 1.5, "grad_norm/layers/001": 0.25})
    writer.close()
    events = b"".join(path.read_bytes() for path in (tmp_path / "metrics").glob("events.out.tfevents.*"))
    assert b"loss" in events
    assert b"grad_norm/layers/001" in events


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
