"""Time by kind adds up, without overlap; percentiles of steps."""

import time

import numpy as np
import pytest

from maxlm.monitor.clock import Clock, StepTimes, process_age_s
from tests import tiny


class _ByHand:
    """A `time.perf_counter` that stands until it is moved."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hand(monkeypatch) -> _ByHand:
    return _ByHand(monkeypatch)


def test_kinds_do_not_overlap(hand):
    clock = Clock()
    with clock.spending("evaluation"):
        hand.passes(2)
        with clock.spending("compile"):
            hand.passes(3)
            clock.add("data_wait", 1)
        hand.passes(4)
    hand.passes(5)
    assert clock.take() == {"evaluation": 6, "compile": 2, "data_wait": 1}
    assert clock.take() == {}


def test_what_raises_is_counted(hand):
    clock = Clock()

    def fail():
        with clock.spending("checkpoint"):
            hand.passes(2)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert clock.take() == {"checkpoint": 2}


def test_the_rest_has_a_name_if_asked_for(hand):
    clock = Clock(age_s=7)
    with clock.spending("restore"):
        hand.passes(2)
    hand.passes(3)
    assert clock.take(rest="start") == {"start": 7 + 3, "restore": 2}
    hand.passes(1)
    assert clock.take(rest="start") == {"start": 1}


def test_time_of_day_follows_the_steady_clock(hand, monkeypatch):
    clock = Clock()
    began = clock.now()
    monkeypatch.setattr(time, "time", lambda: 0.0)  # somebody sets the machine's clock back
    hand.passes(2.5)
    assert clock.now() - began == pytest.approx(2.5)


def test_only_first_calls_compile(hand):
    clock = Clock()

    def step(state, batch):
        hand.passes(1)
        return state + 1, batch.inputs.shape

    step = clock.first_calls(step)
    long, short = tiny.batch(seq_len=16), tiny.batch(seq_len=8)
    assert [step(0, batch)[1] for batch in (long, short, long, short, long)][:2] == [(8, 16), (8, 8)]
    assert clock.take() == {"compile": 2}


def test_percentiles_of_steps(hand):
    clock = Clock()
    times = StepTimes(clock)
    durations = [1.0, 2.0, 3.0, 4.0, 10.0]
    for seconds in durations:
        hand.passes(seconds)
        assert times.step_done(waited_s=0.75 * seconds) == seconds
    found = times.take()
    expected = {f"step_s/p{q}": np.percentile(durations, q) for q in (50, 90, 99)}
    assert found == pytest.approx({**expected, "step_s/max": 10.0, "step_s/host": 0.25 * 3.0})
    assert times.take() == {}


def test_what_steps_stand_still_for_is_no_step(hand):
    clock = Clock()
    times = StepTimes(clock)
    with clock.spending("compile"):
        hand.passes(60)
    hand.passes(1)
    assert times.step_done(0) == 1
    hand.passes(30)  # between two blocks
    times.restart()
    hand.passes(2)
    assert times.step_done(0) == 2


def test_the_age_of_this_process_grows():
    before = process_age_s()
    time.sleep(0.05)
    assert 0 < before < process_age_s() < 24 * 3600
