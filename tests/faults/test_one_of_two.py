"""One of two processes is killed: the other ends at once with one clear line, and the same commands go on."""

import time
from pathlib import Path

from maxlm.errors import EXIT_TRY_AGAIN
from maxlm.report.collect import collect_run
from maxlm.report.goodput import goodput_of
from tests.processes.groups import by_hand, free_port, start
from tests.runs import command, make_tokenised_dataset, train_line

BLOCKS, ROWS = 2, 64
MORE = (f"--config.data.num_blocks={BLOCKS}", "--config.mesh.fsdp=2", "--config.train.eval_every_blocks=0")


def _start_both(line: list[str]) -> list:
    port = free_port()
    return [start(command(line), by_hand(port, index)) for index in range(2)]


def test_one_of_two_is_killed_and_both_are_started_again(tmp_path: Path):
    dataset = make_tokenised_dataset(tmp_path / "data", rows=ROWS, blocks=BLOCKS, seq_len=32)
    line = train_line(dataset, tmp_path / "run", *MORE)
    first, second = _start_both(line)
    metrics = tmp_path / "run" / "metrics" / "metrics.jsonl"
    deadline = time.monotonic() + 200
    while not (metrics.exists() and metrics.read_text().count("\n") > ROWS // 4 + 4):  # past the first block
        assert time.monotonic() < deadline, "the run does not come forward"
        assert first.poll() is None, first.communicate()[1][-3000:]
        time.sleep(0.02)
    second.kill()
    killed_at = time.monotonic()
    _, errors = first.communicate(timeout=60)
    assert time.monotonic() - killed_at < 60
    assert first.returncode == EXIT_TRY_AGAIN, errors[-3000:]
    (words,) = [text for text in errors.splitlines() if text.startswith("error: ")]
    assert "process 0 of 2: a step failed on the way between the processes" in words
    assert words.endswith("the same command goes on from the last checkpoint")
    second.communicate()

    for process in _start_both(line):
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors[-3000:]
    record = collect_run(tmp_path / "run")
    assert record.state == "finished"
    assert [step["step"] for step in record.metrics] == list(range(1, BLOCKS * ROWS // 4 + 1))
    account = goodput_of(tmp_path / "run")
    assert account is not None
    assert account.starts == 2
    assert account.spent_s["undone"] > 0
