"""What follows on an alarm, and one run with everything switched on."""

import json
import math
import os
import time

import jax
import numpy as np
import pytest

from maxlm.blocks.reader import BlockStore
from maxlm.errors import ConfigError, UserError
from maxlm.journal import Journal
from maxlm.monitor.clock import Clock
from maxlm.monitor.config import CorruptionConfig, ProfileConfig, SpikeConfig, StuckConfig, WandbConfig, WatchConfig
from maxlm.monitor.instruments import Instruments, MonitorConfig, RollbackWantedError
from maxlm.monitor.tracking import Tracker
from maxlm.report.goodput import goodput_of
from maxlm.train.config import Config, DataSettings, TrainSettings
from maxlm.train.loop import train
from tests import tiny
from tests.synthetic import make_dataset


class _Bench:
    """Instruments of a run that is not there."""

    def __init__(self, folder, **watch):
        self.journal, self.said = Journal(folder / "journal.jsonl"), []
        config = MonitorConfig(ProfileConfig(), WatchConfig(**watch))
        self.instruments = Instruments(config, folder, Clock(), self.journal, ("en",), self.said.append)

    def step(self, step: int, loss: float, grad_norm: float = 1.0, again=None) -> dict:
        figures = {"loss": np.float32(loss), "grad_norm": np.float32(grad_norm)}
        return self.instruments.fetch(step, figures, again and (lambda: again))

    def alarms(self) -> list[dict]:
        return [event for event in self.journal.read() if event["event"] == "alarm"]


@pytest.fixture
def bench(tmp_path):
    benches = []

    def make(**watch) -> _Bench:
        benches.append(_Bench(tmp_path, **watch))
        return benches[-1]

    yield make
    for each in benches:
        each.instruments.close()


def test_a_warning_is_a_line_in_the_journal_and_on_the_terminal(bench):
    on = bench(loss=SpikeConfig(window=8))
    for step in range(20):
        assert on.step(step, 2.0 + 8 * (step == 15))["loss"] == 2.0 + 8 * (step == 15)
    assert on.said == ["warning: step 15: loss 10 is above 2.08 (median of the steps before: 2)"]
    (event,) = on.alarms()
    assert {key: event[key] for key in ("detector", "step", "value", "median", "policy")} == {
        "detector": "loss", "step": 15, "value": 10.0, "median": 2.0, "policy": "warn",
    }  # fmt: skip


def test_a_stop_names_the_figure_and_the_way_out(bench):
    on = bench(grad_norm=SpikeConfig("stop", window=8))
    for step in range(15):
        on.step(step, 2.0)
    with pytest.raises(UserError, match=r"step 15: gradient norm 50 is above 1\.\d+ .*: the run stops before .*--skip"):
        on.step(15, 2.0, 50.0)
    assert [event["policy"] for event in on.alarms()] == ["stop"]


def test_a_rollback_is_asked_for(bench):
    on = bench(not_finite="rollback")
    with pytest.raises(
        RollbackWantedError, match="step 3: loss is nan: the block is to be undone and left out"
    ) as found:
        on.step(3, float("nan"))
    assert found.value.alarm.step == 3
    assert on.said == ["warning: step 3: loss is nan; going back to the last finished block, and leaving this one out"]
    assert [event["policy"] for event in on.alarms()] == ["rollback"]


def test_what_is_not_finite_may_be_passed_over(bench):
    on = bench(not_finite="warn", max_not_finite=1)
    on.step(1, float("nan"))
    assert on.said == ["warning: step 1: loss is nan"]
    with pytest.raises(
        UserError, match=r"step 2: loss is inf; 2 of the last 100 .*max_not_finite=1\): the run has diverged and stops"
    ):
        on.step(2, float("inf"))
    assert [event["value"] for event in on.alarms()] == ["nan", "inf"]


def test_a_batch_is_left_out_and_told(bench):
    on = bench(loss=SpikeConfig("skip", window=8))
    for step in range(16):
        on.step(step, 10.0 if step == 15 else 2.0, again=(9.5, 1.0))
    assert on.said == [
        "warning: step 15: loss 10 is above 2.08 (median of the steps before: 2); run again, it is 9.5 again: the batch"
        "; the update is left out"
    ]


@pytest.mark.parametrize(
    ("loss", "again", "said"),
    [
        (math.nan, (2.0, 1.0), "run again, it is finite this time: a fault that passes"),
        (math.nan, (math.nan, 1.0), "run again, it is not finite again: the batch or the parameters"),
        (9.0, (2.0, 1.0), "run again, it is 2 this time: a fault that passes"),
        (9.0, (8.0, 1.0), "run again, it is 8 again: the batch"),
    ],
)
def test_a_fault_that_passes_is_told_from_one_that_stays(bench, loss, again, said):
    on = bench(loss=SpikeConfig("rollback", window=8), not_finite="rollback")
    for step in range(8):
        on.step(step, 2.0, again=again)
    with pytest.raises(RollbackWantedError, match=said):
        on.step(8, loss, again=again)
    assert on.alarms()[0]["detail"] == said


def test_devices_are_checked_now_and_then(bench):
    on, asked = bench(corruption=CorruptionConfig("warn", every=3)), []
    for step in range(1, 10):
        on.instruments.check_devices(step, lambda step=step: asked.append(step) or (["one"] if step == 6 else []))
    assert asked == [3, 6, 9]
    assert on.said == ["warning: step 6: number of differences that should not be is 1; one"]
    assert [event["step"] for event in on.alarms()] == [6]


def test_a_broken_device_stops_the_run(bench):
    on = bench(corruption=CorruptionConfig(every=1))
    with pytest.raises(
        UserError, match=r"should not be is 5; 0; 1; 2; and 2 more: the run stops before the next .*host"
    ):
        on.instruments.check_devices(4, lambda: list("01234"))


def test_a_domain_by_windows(bench):
    on = bench(domain_loss=SpikeConfig("stop", window=4))
    for step in (10, 20, 30):
        on.step(step, 2.0)
        assert on.instruments.scalars(step, {"loss/en": 3.0})["step_s/max"] > 0
    with pytest.raises(UserError, match="loss of en 4 is above"):
        on.instruments.scalars(40, {"loss/en": 4.0})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two blocks of four steps, with everything switched on."""
    folder = tmp_path_factory.mktemp("run")
    dataset = make_dataset(folder / "data", blocks=2, rows=16, seq_len=8)
    config = Config(
        model=tiny.model(vocab_size=0),
        data=DataSettings(dataset, num_blocks=2, wait_s=0.0),
        train=TrainSettings(batch=4, log_every=2, peak_flops=1e12, log_norms=True, eval_every_blocks=0),
        profile=ProfileConfig(start=3, steps=2),
        watch=WatchConfig(stuck=StuckConfig("warn", 60.0)),
    )
    train(config, folder / "run", BlockStore(dataset), devices=jax.devices()[:2], clock=Clock(age_s=1.5))
    return folder / "run"


def _lines(run) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics" / "metrics.jsonl").read_text().splitlines()]


def test_a_line_says_all_there_is_to_see(run):
    lines = [line for line in _lines(run) if "loss" in line]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    for line in lines:
        for key in ("step_s/p50", "step_s/p90", "step_s/p99", "step_s/max", "mfu", "memory/process_gib"):
            assert line[key] > 0
        assert line["step_s/p50"] <= line["step_s/p90"] <= line["step_s/p99"] <= line["step_s/max"]
        assert line["tokens_per_s_device"] == line["tokens_per_s"] / 2
        assert line["mfu_no_attention"] < line["mfu"] < line["mfu_square"]
        squares = [line[f"grad_norm/{name}"] ** 2 for name in ("embedding", "norm", "layers/000", "layers/001")]
        assert 0 < sum(squares) ** 0.5 < 4 * line["grad_norm"]
        assert line["param_norm/layers/001"] > 0


def test_the_account_of_a_real_run_is_whole(run):
    account = goodput_of(run)
    assert account is not None
    lines = [line for line in _lines(run) if "time" in line]
    assert account.wall_s == pytest.approx(
        lines[-1]["time"] - lines[0]["time"] + sum(lines[0]["spent"].values()), abs=1e-3
    )
    assert account.spent_s["start"] > 1.5
    assert account.spent_s["compile"] > 0
    assert account.spent_s["productive"] > 0
    assert account.spent_s["checkpoint"] > 0
    assert account.spent_s.get("undone", 0) == 0


def test_the_window_of_the_profile_is_written_once(run):
    (trace,) = (run / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 1000


def test_without_a_project_nothing_is_tracked(tmp_path):
    tracker = Tracker(WandbConfig(), "run", {}, os.fspath(tmp_path))
    tracker.write(1, {"loss": 2.0})
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_weights_and_biases_get_what_the_files_get(tmp_path, monkeypatch):
    """Offline: written to the folder, sent nowhere."""
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": os.fspath(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    tracker = Tracker(WandbConfig("a-project"), "run-1234", {"train": {"batch": 8}}, os.fspath(tmp_path))
    tracker.write(10, {"loss": 2.5})
    tracker.write(5, {"loss": 3.5})  # a step that comes again after a kill
    tracker.close()
    (file,) = tmp_path.rglob("*.wandb")
    assert "run-1234" in file.name
    deadline = time.monotonic() + 30  # wandb's own process writes it, on its way out
    while b"a-project" not in file.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"config\.wandb\.project='p' needs a package: pip install 'maxlm\[wandb\]'"):
        Tracker(WandbConfig("p"), "run", {}, os.fspath(tmp_path))
