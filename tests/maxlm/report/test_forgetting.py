"""Learnt and forgotten, from the lines of a run."""

import pytest
from etils import epath

from maxlm.report.collect import RunRecord
from maxlm.report.forgetting import forgetting_of, sentence


def _line(step: int, en: float, zh: float) -> dict[str, float]:
    losses = {"/en": en, "/zh": zh, "": (en + zh) / 2}
    return {"step": step} | {
        f"validation/{k}{d}": v / n for d, v in losses.items() for k, n in (("loss", 1), ("bpb", 2))
    }


def _record(*lines: dict[str, float], begins: int | None = 0) -> RunRecord:
    return RunRecord(epath.Path("RUN"), {}, "finished", begins_trained=begins, validation=list(lines))


def test_before_and_after():
    record = _record(_line(0, 2.0, 6.0), _line(10, 3.0, 4.0), _line(20, 2.5, 3.0))
    en, zh, whole = forgetting_of(record)
    assert (en.domain, en.loss, en.bpb) == ("en", (2.0, 2.5), (1.0, 1.25))
    assert en.cells() == ("en", "2.0000", "2.5000", "+0.5000", "1.0000", "1.2500", "+0.2500")
    assert (zh.domain, zh.loss) == ("zh", (6.0, 3.0))
    assert (whole.domain, whole.loss) == ("all", (4.0, 2.75))
    said = sentence(record, [en, zh, whole])
    assert said == "held-out text at steps 0 and 20; most was forgotten of en: +0.2500 bits/byte"


def test_nothing_forgotten():
    record = _record(_line(8, 2.0, 6.0), _line(20, 2.0, 3.0), begins=8)
    assert sentence(record, forgetting_of(record)) == "held-out text at steps 8 and 20: no domain was forgotten"


@pytest.mark.parametrize(
    "record",
    [
        _record(_line(0, 2.0, 6.0)),
        _record(),
        _record(_line(10, 3.0, 4.0), _line(20, 2.5, 3.0)),  # not evaluated before its first step
        _record(_line(0, 2.0, 6.0), _line(20, 2.0, 3.0), begins=None),
    ],
)
def test_nothing_to_compare(record):
    assert forgetting_of(record) == []
