"""Which checkpoints stay, rule by rule and all together."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from maxlm.train.config import CheckpointConfig
from maxlm.train.retention import Saved, to_remove

# Ten blocks of ten steps, each saved at its middle and its end; the held-out loss is lowest after block 3.
SAVED = [
    Saved(step, step // 10, step % 10 == 0, step == 40, abs(step - 30.0) if step % 10 == 0 else None)
    for step in range(5, 101, 5)
]


def _kept(verified: int = -1, **rules) -> list[int]:
    removed = to_remove(SAVED, CheckpointConfig(**{"keep": 1, "keep_stage_ends": False, **rules}), verified)
    return [one.step for one in SAVED if one.step not in removed]


def test_all_stay_unless_told_otherwise():
    assert to_remove(SAVED, CheckpointConfig()) == []


def test_each_rule():
    assert _kept() == [100]
    assert _kept(keep=3) == [90, 95, 100]
    assert _kept(keep_every_blocks=4) == [40, 80, 100]
    assert _kept(keep_stage_ends=True) == [40, 100]
    assert _kept(keep_best=2) == [20, 30, 100] or _kept(keep_best=2) == [30, 40, 100]
    assert _kept(verified=15) == [15, 100]
    assert _kept(keep_spread=True) == [10, 30, 70, 90, 100]


def test_spread_stays_spread_as_a_run_goes_on():
    """Block by block, with what was removed gone for good: about log2 of the blocks stay, near and far."""
    config, there = CheckpointConfig(keep=1, keep_spread=True, keep_stage_ends=False), []
    for block in range(1, 201):
        there.append(Saved(10 * block, block, True))
        gone = to_remove(there, config)
        there = [one for one in there if one.step not in gone]
        assert len(there) <= 2 + block.bit_length()
        ages = sorted(block - one.blocks_done for one in there)
        for older, newer in zip(ages[1:], ages, strict=False):
            assert older <= 4 * newer + 1, (block, ages)


@st.composite
def checkpoints(draw):
    steps = draw(st.lists(st.integers(0, 200), unique=True, min_size=1).map(sorted))
    return [
        Saved(step, step // 10, draw(st.booleans()), draw(st.booleans()), draw(st.none() | st.floats(0, 9)))
        for step in steps
    ]


@given(checkpoints(), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3), st.booleans(), st.booleans(), st.data())
def test_the_newest_and_the_verified_one_never_go(saved, keep, every, best, spread, ends, data):
    verified = data.draw(st.sampled_from([one.step for one in saved]))
    config = CheckpointConfig(
        keep=keep, keep_every_blocks=every, keep_best=best, keep_spread=spread, keep_stage_ends=ends
    )
    removed = set(to_remove(saved, config, verified))
    assert not removed & {verified, *(one.step for one in saved[-keep:])}
    fewer = dataclasses.replace(config, keep_best=0, keep_spread=False)
    assert removed <= set(to_remove(saved, fewer, verified))  # a rule only adds
