"""A run's folder as tables: what stands, what was undone."""

import json

import pytest

from maxlm.errors import DataError
from maxlm.journal import Journal
from maxlm.report.collect import collect_corpus, collect_run


def _line(step: int, **values: float) -> dict[str, float]:
    return {"step": step, "loss": 5.0 - step / 100, **values}


class _Run:
    """Writes a run's files as training does."""

    def __init__(self, folder):
        self.folder, self.journal = folder, Journal(folder / "journal.jsonl")
        (folder / "metrics").mkdir()
        (folder / "config.json").write_text(json.dumps({"data": {"num_blocks": 4, "dataset": "DATA"}}))

    def start(self, step: int) -> None:
        self.journal.append("resumed" if step else "run_started", step=step, total_steps=40, block=step // 10)
        self.write({"begins_after": step})

    def block(self, block: int, step: int, loss: float) -> None:
        """Ten steps, with a line every five."""
        self.journal.append("block_started", block=block, step=step, batch=0)
        self.write(_line(step + 5, block=block))
        self.write(_line(step + 10, block=block))
        self.journal.append("block_finished", block=block, step=step + 10)
        self.journal.append("checkpoint", step=step + 10, finished_block=block, batch=0)
        self.write({"step": step + 10, "validation/loss": loss})
        self.journal.append("evaluated", block=block, step=step + 10, **{"validation/loss": loss})

    def roll_back(self, to_block: int, from_step: int, to_step: int, skipped: list[int]) -> None:
        self.journal.append(
            "rollback", to_block=to_block, from_step=from_step, to_step=to_step, skipped=skipped, set_aside=None
        )

    def write(self, values: dict[str, float]) -> None:
        with open(self.folder / "metrics" / "metrics.jsonl", "a") as file:
            file.write(json.dumps(values) + "\n")


@pytest.fixture
def run(tmp_path) -> _Run:
    """Two blocks done in one go."""
    run = _Run(tmp_path)
    run.start(0)
    run.block(0, 0, 4.0)
    run.block(1, 10, 3.0)
    return run


def _steps(lines) -> list[float]:
    return [line["step"] for line in lines]


def test_an_undisturbed_run(run):
    for step in (10, 20):
        (run.folder / "checkpoints" / str(step)).mkdir(parents=True)
    (run.folder / "checkpoints" / "30.orbax-checkpoint-tmp-1").mkdir()
    record = collect_run(run.folder)
    assert record.state == "training, or stopped without a word"
    assert (record.step, record.total_steps, record.blocks_done) == (20, 40, 2)
    assert [(b.block, b.step, b.validation_loss, b.undone) for b in record.blocks] == [
        (0, 10, 4.0, False), (1, 20, 3.0, False),
    ]  # fmt: skip
    assert record.checkpoints == [10, 20]
    assert _steps(record.metrics) == [5, 10, 15, 20]
    assert [line["validation/loss"] for line in record.validation] == [4.0, 3.0]
    assert (record.undone, record.rollbacks, record.skipped) == ([], [], [])
    run.journal.append("run_finished", step=20, blocks=2)
    assert collect_run(run.folder).state == "finished"


def test_a_crash_undoes_what_its_checkpoints_do_not_hold(run):
    """Killed in block 2; the checkpoint after block 1 had not been published."""
    run.write(_line(25, block=2))
    run.write({"step": 27, "loss": 1.0})  # off the grid of what comes again
    run.start(10)
    run.block(1, 10, 2.9)
    record = collect_run(run.folder)
    assert [(b.block, b.undone) for b in record.blocks] == [(0, False), (1, True), (1, False)]
    assert [b.validation_loss for b in record.blocks] == [4.0, 3.0, 2.9]
    assert _steps(record.metrics) == [5, 10, 15, 20]
    assert [_steps(stretch) for stretch in record.undone] == [[15, 20, 25, 27]]
    assert [line["validation/loss"] for line in record.validation] == [4.0, 2.9]


def test_rolled_back_and_on(run):
    run.block(2, 20, 9.0)
    run.roll_back(to_block=1, from_step=30, to_step=20, skipped=[2])
    record = collect_run(run.folder)
    assert (record.state, record.step, record.blocks_done) == ("rolled back to block 1", 20, 2)
    assert _steps(record.metrics) == [5, 10, 15, 20]
    assert [_steps(stretch) for stretch in record.undone] == [[25, 30]]
    assert _steps(record.validation) == [10, 20]
    run.start(20)  # nothing is logged yet
    record = collect_run(run.folder)
    assert (_steps(record.metrics), _steps(record.validation)) == ([5, 10, 15, 20], [10, 20])
    run.block(3, 20, 2.5)
    record = collect_run(run.folder)
    assert record.skipped == [2]
    assert [(b.block, b.undone) for b in record.blocks] == [(0, False), (1, False), (2, True), (3, False)]
    assert [line["block"] for line in record.metrics] == [0, 0, 1, 1, 3, 3]
    assert [[line["block"] for line in stretch] for stretch in record.undone] == [[2, 2]]


def test_a_rollback_of_a_rollback(run):
    run.roll_back(to_block=0, from_step=20, to_step=10, skipped=[1])
    run.start(10)
    run.block(2, 10, 2.0)
    run.roll_back(to_block=-1, from_step=20, to_step=0, skipped=[])
    record = collect_run(run.folder)
    assert (record.state, record.step, record.blocks_done) == ("rolled back to block -1", 0, 0)
    assert record.skipped == []
    assert (record.metrics, record.validation) == ([], [])
    assert [_steps(stretch) for stretch in record.undone] == [[15, 20], [5, 10, 15, 20]]
    assert len(record.rollbacks) == 2


def test_a_torn_last_line_is_left_out(run):
    path = run.folder / "metrics" / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 25, "lo')
    assert _steps(collect_run(run.folder).metrics) == [5, 10, 15, 20]


def test_alarms_hosts_and_a_run_that_hung(run):
    run.journal.append("alarm", detector="loss", step=17, value=9.0, median=2.0, limit=3.0, policy="warn")
    run.journal.append("stuck", doing="waiting for the step after 20", silent_s=1800, process=0)
    (run.folder / "metrics" / "hosts.jsonl").write_text('{"step": 20, "step_s/p50": [1.0, 2.0]}\n{"step": 30, "st')
    run.write({"ends": True, "time": 1.0, "spent": {}})
    record = collect_run(run.folder)
    assert [event["step"] for event in record.alarms] == [17]
    assert record.state == "nothing had happened for 1800 s, while waiting for the step after 20"
    assert record.hosts == [{"step": 20, "step_s/p50": [1.0, 2.0]}]
    assert _steps(record.metrics) == [5, 10, 15, 20]
    assert len(record.validation) == 2


def test_a_run_that_has_not_begun(tmp_path):
    (tmp_path / "config.json").write_text('{"data": {"dataset": "somewhere"}}')
    record = collect_run(tmp_path)
    assert (record.state, record.blocks, record.metrics, record.checkpoints) == ("not started", [], [], [])
    (tmp_path / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: no such file \(config of the run\)"):
        collect_run(tmp_path)


def test_the_corpus_report(tmp_path):
    assert collect_corpus(tmp_path) is None
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "report.json").write_text('{"kept": {}}')
    assert collect_corpus(tmp_path) == {"kept": {}}
    (tmp_path / "corpus" / "report.json").write_text("{")
    with pytest.raises(DataError, match=r"report\.json: not valid JSON \(report of the corpus\)"):
        collect_corpus(tmp_path)
