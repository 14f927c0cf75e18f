import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.report.shift import MIN_DOCUMENTS, alarms, wilson


def sized(**documents):
    return {"language": {name: {"documents": count} for name, count in documents.items()}}


def took(operator, **by_language):
    return {
        "language": {
            name: {operator: {reason: {"documents": n} for reason, n in reasons.items()}}
            for name, reasons in by_language.items()
        }
    }


def test_a_rule_that_takes_one_language_is_named_with_its_figures():
    removed = took("stop_words", en={"few": 600, "none": 10}, zh={"few": 90})
    [alarm] = alarms(sized(en=1000, zh=1000), removed)
    assert alarm.sentence() == (
        "stop_words drops 61% of language en (610 of 1,000 documents), 9% of the rest, because of: few (600), none (10)"
    )


def test_even_losses_raise_no_alarm():
    assert not alarms(sized(en=1000, zh=1000, de=500), took("length", en={"a": 300}, zh={"a": 330}, de={"a": 160}))


def test_small_groups_raise_no_alarm():
    assert not alarms(sized(en=1000, sw=MIN_DOCUMENTS - 1), took("length", sw={"a": MIN_DOCUMENTS - 1}))


def test_the_greatest_difference_comes_first():
    removed = took("x", en={"a": 30}, zh={"a": 90}, de={"a": 2})
    assert [alarm.name for alarm in alarms(sized(en=100, zh=100, de=400), removed)] == ["zh"]
    removed = took("x", en={"a": 60}, zh={"a": 90}, de={"a": 2})
    assert [alarm.name for alarm in alarms(sized(en=100, zh=100, de=400), removed)] == ["zh", "en"]


@given(trials=st.integers(1, 10_000), share=st.floats(0, 1))
def test_the_interval_holds_the_share_and_stays_within_0_and_1(trials, share):
    successes = round(share * trials)
    low, high = wilson(successes, trials)
    assert -1e-12 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1 + 1e-12


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5])
def test_the_interval_covers_the_truth_as_often_as_it_says(share):
    drawn = np.random.default_rng(0).binomial(200, share, 5000)
    covered = np.mean([low <= share <= high for low, high in map(lambda k: wilson(int(k), 200), drawn)])
    assert 0.98 < covered < 0.998
