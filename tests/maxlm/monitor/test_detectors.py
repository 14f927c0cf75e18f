"""Detectors on series whose troubles are known, and properties that hold on any series."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.config import freeze
from maxlm.errors import ConfigError
from maxlm.monitor.config import CorruptionConfig, SpikeConfig, StuckConfig, WatchConfig
from maxlm.monitor.detectors import NO_LIMITS, Seen, SpikeDetector, Watch, upper_limit

SERIES = st.lists(st.floats(0.1, 1e6), min_size=3, max_size=60)


def _alarms(values, **options) -> list[int]:
    """Places in a series at which a detector gives alarm."""
    detector = SpikeDetector("loss", SpikeConfig(**options))
    return [at for at, value in enumerate(values) if detector.look(at, value)]


def _falling(steps: int, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """A loss as runs have it: a power law and noise."""
    rng = np.random.default_rng(seed)
    return 2 + 8 * np.arange(1, steps + 1) ** -0.4 + noise * rng.standard_normal(steps)


def test_the_limit_by_hand():
    # Median 4; deviations 3 2 1 0 1 2 96, of which the median is 2.
    assert upper_limit([1, 2, 3, 4, 5, 6, 100], threshold=3) == (4, pytest.approx(4 + 3 * 1.4826 * 2))
    # What does not move at all may still move by half a percent a deviation.
    assert upper_limit([2.0] * 9, threshold=4) == (2, pytest.approx(2.04))


@pytest.mark.parametrize("seed", range(20))
def test_an_ordinary_run_gives_no_alarm(seed):
    assert _alarms(_falling(3000, seed=seed)) == []


@pytest.mark.parametrize("at", [500, 1000, 2999])  # where a loss still falls fast, more is taken for ordinary
def test_a_spike_is_seen_at_its_first_step_and_told_once(at):
    loss = _falling(3000)
    loss[at : at + 20] += 1.0
    assert _alarms(loss) == [at]


def test_a_new_spike_is_told_again():
    loss = _falling(1000)
    loss[400] = loss[600] = 9.0
    assert _alarms(loss) == [400, 600]


def test_the_first_half_of_a_window_is_only_looked_at():
    loss = _falling(200)
    loss[63] = 50.0
    assert _alarms(loss, window=128) == []
    assert _alarms(loss, window=126) == [63]


def test_a_level_that_stays_becomes_the_measure():
    loss = np.concatenate([_falling(500), _falling(500) + 3.0])
    loss[900] += 1.0
    assert _alarms(loss) == [500, 900]


def test_many_in_a_row():
    loss = _falling(400)
    loss[200:202] += 1
    loss[300:305] += 1
    assert _alarms(loss, in_a_row=3) == [302]


def test_what_is_skipped_is_told_each_time_and_compared_with_the_steps_up_to_two_before():
    loss = _falling(800)
    loss[600:603] += 1
    assert _alarms(loss, policy="skip") == [600, 601, 602]
    detector = SpikeDetector("loss", SpikeConfig("skip", window=8))
    for step, value in enumerate(loss[:20]):
        expected = upper_limit(loss[max(step - 9, 0) : step - 1], 8.0) if step >= 5 else None
        assert detector.limit(step) == expected
        detector.look(step, value)
        assert detector.limit(step) == expected  # whether or not the figures of the step before are there already


def test_policy_off():
    loss = _falling(400)
    loss[200] = 50
    assert _alarms(loss, policy="off") == []


@given(SERIES, st.floats(1.0, 20.0))
def test_one_wild_value_moves_the_limit_little(values, threshold):
    """Whatever replaces one of the values, the median stays within its neighbours: the wild one can't hide itself."""
    median, _ = upper_limit(values, threshold)
    ordered = sorted(values)
    wild = [*ordered[:-1], 1e300]
    assert ordered[0] <= upper_limit(wild, threshold)[0] <= max(ordered[:-1])
    assert median <= ordered[-1]


@given(SERIES, st.floats(0.001, 1000.0))
def test_alarms_do_not_depend_on_the_unit(values, factor):
    scale = 2.0 ** round(math.log2(factor))  # exact in floating point
    assert _alarms(values, window=8) == _alarms([scale * value for value in values], window=8)


@given(st.floats(0.5, 5.0), st.integers(8, 40))
def test_nothing_above_the_limit_means_no_alarm(level, steps):
    assert _alarms([level] * steps, window=8) == []


def _watch(**options) -> Watch:
    return Watch(WatchConfig(**options), ("code", "en"))


def test_a_domain_alone_gives_alarm():
    watch, rng = _watch(), np.random.default_rng(0)
    found = []
    for step in range(10, 1010, 10):
        figures = {"loss/code": 2 + 0.02 * rng.standard_normal(), "loss/en": 3 + 0.02 * rng.standard_normal()}
        if step == 800:
            figures["loss/en"] += 0.5
        if step % 3 == 0:
            del figures["loss/code"]  # of which there was nothing in these steps
        found += watch.after_window(step, figures)
    (alarm,) = found
    assert (alarm.detector, alarm.step, alarm.policy) == ("loss of en", 800, "warn")
    assert str(alarm).startswith("step 800: loss of en 3.452 is above 3.19 ")


@pytest.mark.parametrize(
    ("figures", "detector"),
    [({"loss": math.nan, "grad_norm": 1.0}, "loss"), ({"loss": 2.0, "grad_norm": math.inf}, "gradient norm")],
)
def test_what_is_not_finite(figures, detector):
    (alarm,) = _watch().after_step(7, figures)
    assert (alarm.detector, alarm.policy, alarm.limit) == (detector, "stop", None)
    (alarm,) = _watch(not_finite="warn").after_step(7, figures)
    assert alarm.policy == "warn"
    assert alarm.fields()["value"] in ("nan", "inf")


def test_too_much_that_is_not_finite_stops_the_run_anyway():
    bad, good = {"loss": math.nan, "grad_norm": math.nan}, {"loss": 2.0, "grad_norm": 1.0}
    watch = _watch(not_finite="warn", max_not_finite=3)
    policies = [watch.after_step(step, bad)[0].policy for step in (1, 50, 99)]
    assert policies == ["warn"] * 3
    assert watch.after_step(101, bad)[0].policy == "warn"  # the first is forgotten: 100 steps later
    assert watch.after_step(102, good) == []
    assert watch.after_step(103, bad)[0].policy == "stop"


def test_what_is_not_finite_may_be_left_untold_but_not_for_ever():
    bad, watch = {"loss": math.nan, "grad_norm": math.nan}, _watch(not_finite="off", max_not_finite=2)
    assert [watch.after_step(step, bad) for step in (1, 2)] == [[], []]
    assert watch.after_step(3, bad)[0].policy == "stop"


def test_a_spike_of_the_gradient_with_its_own_settings():
    watch = _watch(grad_norm=SpikeConfig("stop", window=8, threshold=10))
    found = [watch.after_step(step, {"loss": 2.0, "grad_norm": 1.0 + 99 * (step == 20)}) for step in range(30)]
    ((alarm,),) = [alarms for alarms in found if alarms]
    assert (alarm.detector, alarm.step, alarm.value, alarm.median, alarm.policy) == (
        "gradient norm",
        20,
        100,
        1,
        "stop",
    )


def test_limits_are_of_policies_that_skip():
    watch = _watch(loss=SpikeConfig("skip", window=8), grad_norm=SpikeConfig("warn", window=8))
    assert watch.limits(1) == NO_LIMITS
    for step in range(1, 20):
        watch.after_step(step, {"loss": 2.0, "grad_norm": 1.0})
    assert watch.limits(20) == (pytest.approx(2.0 + 8 * 0.01), math.inf)


def test_too_much_that_is_skipped_stops_the_run():
    watch = _watch(loss=SpikeConfig("skip", window=64), max_skipped=2)
    policies = []
    for step in range(1, 120):
        figures = {"loss": 2.0 + 5 * (step in (50, 60, 70)), "grad_norm": 1.0}
        policies += [alarm.policy for alarm in watch.after_step(step, figures)]
    assert policies == ["skip", "skip", "stop"]


@given(
    st.lists(st.floats(0.5, 9.0), min_size=20, max_size=60),
    st.integers(1, 19),
    st.sampled_from([("skip", 1), ("warn", 1), ("rollback", 3)]),
)
def test_an_interruption_changes_no_verdict(values, at, how):
    """What a checkpoint says was seen gives the same limits and alarms from there on."""
    policy, in_a_row = how
    spikes = SpikeConfig(policy, window=8, threshold=2.0, in_a_row=in_a_row)
    config = {"loss": spikes, "not_finite": "warn", "max_skipped": 3}
    whole, first = _watch(**config), _watch(**config)
    for step, value in enumerate(values[:at]):
        assert whole.after_step(step, _figures(value)) == first.after_step(step, _figures(value))
    second = _watch(**config)
    second.remember(freeze(Seen, json.loads(json.dumps(dataclasses.asdict(first.seen())))))
    for step, value in enumerate(values[at:], at):
        assert whole.limits(step) == second.limits(step)
        assert whole.after_step(step, _figures(value)) == second.after_step(step, _figures(value))


def _figures(loss: float) -> dict[str, float]:
    return {"loss": loss if loss < 8.5 else math.nan, "grad_norm": 1.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpikeConfig(window=1), r"config\.watch: window=1 must be at least 2"),
        (lambda: SpikeConfig(threshold=0), r"threshold=0 above 0"),
        (lambda: SpikeConfig(in_a_row=0), r"in_a_row=0 at least 1"),
        (lambda: SpikeConfig("skip", in_a_row=2), r"policy=skip decides on each update by itself; in_a_row=2 must be"),
        (lambda: WatchConfig(domain_loss=SpikeConfig("skip")), r"domain_loss\.policy=skip: .* only after many updates"),
        (lambda: CorruptionConfig(every=0), r"corruption\.every=0 must be at least 1; policy=off"),
        (lambda: StuckConfig(limit_s=0), r"config\.watch\.stuck\.limit_s=0 must be above 0; policy=off"),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
