"""Learning rates at marked steps, worked out by hand."""

import math

import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.train.config import Config, ScheduleConfig
from maxlm.train.schedules import SCHEDULES, make_schedule

PEAK, STEPS = 2e-3, 100


def _rates(**fields) -> np.ndarray:
    schedule = make_schedule(PEAK, ScheduleConfig(**fields), STEPS)
    return np.array([float(schedule(step)) for step in range(STEPS + 1)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_linearly_and_the_first_step_learns(name):
    rates = _rates(name=name, warmup_share=0.1)
    np.testing.assert_allclose(rates[:10], PEAK * np.arange(1, 11) / 10, rtol=1e-6)
    assert rates[10] == pytest.approx(PEAK)
    assert rates.max() == pytest.approx(PEAK)


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_warm_up_the_first_step_is_at_the_peak(name):
    rates = _rates(name=name, warmup_share=0.0)
    assert rates[0] == pytest.approx(PEAK)
    assert np.isfinite(rates).all()


@pytest.mark.parametrize("name", ["wsd", "cosine", "linear"])
@pytest.mark.parametrize("final_share", [0.0, 0.1])
def test_ends_at_the_final_share(name, final_share):
    rates = _rates(name=name, final_share=final_share)
    assert rates[STEPS] == pytest.approx(final_share * PEAK, abs=1e-9)
    assert rates[STEPS - 1] > final_share * PEAK  # the last step still learns
    assert (np.diff(rates[10:]) <= 1e-12).all()


def test_wsd():
    rates = _rates(name="wsd", warmup_share=0.1, decay_share=0.25, final_share=0.2)
    np.testing.assert_allclose(rates[10:76], PEAK, rtol=1e-6)
    for step in (76, 84, 99):  # 1 - sqrt from step 75 on
        share = math.sqrt((step - 75) / 25)
        assert rates[step] == pytest.approx(PEAK * (0.2 + 0.8 * (1 - share)), rel=1e-5)


def test_wsd_without_decay_is_constant():
    np.testing.assert_allclose(_rates(name="wsd", decay_share=0.0), _rates(name="constant"), rtol=1e-6)


def test_cosine():
    rates = _rates(name="cosine", warmup_share=0.2, final_share=0.1)
    for step in (20, 40, 60, 99):
        half_turn = math.pi * (step - 20) / 80
        assert rates[step] == pytest.approx(PEAK * (0.1 + 0.9 * (1 + math.cos(half_turn)) / 2), rel=1e-5)


def test_linear():
    rates = _rates(name="linear", warmup_share=0.2, final_share=0.5)
    for step in (20, 50, 99):
        assert rates[step] == pytest.approx(PEAK * (1 - 0.5 * (step - 20) / 80), rel=1e-5)


def test_constant_ignores_the_final_share():
    np.testing.assert_allclose(_rates(name="constant", warmup_share=0.1, final_share=0.0)[9:], PEAK, rtol=1e-6)


def test_names_are_the_config_s_choices():
    from typing import get_args, get_type_hints

    assert set(SCHEDULES) == set(get_args(get_type_hints(ScheduleConfig)["name"]))


@pytest.mark.parametrize(
    "shares", [{"warmup_share": 1.1}, {"decay_share": -0.1}, {"final_share": 2.0}, {"warmup_share": 0.9}]
)
def test_shares_out_of_range(shares):
    with pytest.raises(ConfigError, match=r"config\.schedule: shares lie in \[0, 1\] and warm-up \+ decay within 1"):
        Config(schedule=ScheduleConfig(**shares))
