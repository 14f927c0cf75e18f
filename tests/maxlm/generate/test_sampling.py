"""Which tokens may be drawn, and how often, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from maxlm.errors import UserError
from maxlm.generate.sampling import Sampling, sample

V, DRAWS = 8, 512
ALL_V = np.ones(V, bool)


def _softmax(logits_V: np.ndarray) -> np.ndarray:
    weights = np.exp(logits_V - logits_V.max())
    return weights / weights.sum()


def _draws(logits_V, allowed_V, sampling: Sampling, seed: int = 0) -> np.ndarray:
    logits_BV = jnp.broadcast_to(jnp.asarray(logits_V, jnp.float32), (DRAWS, V))
    return np.asarray(sample(logits_BV, jnp.asarray(allowed_V), jax.random.key(seed), sampling))


def _probabilities(logits_V, allowed_V, sampling: Sampling) -> np.ndarray:
    """What `sample` should draw from: allowed, then temperature, then top-k, then top-p of what is left."""
    p_V = _softmax(np.where(allowed_V, logits_V / sampling.temperature, -np.inf))
    if sampling.top_k:
        p_V[np.argsort(-p_V)[sampling.top_k :]] = 0
        p_V /= p_V.sum()
    order = np.argsort(-p_V)
    before = np.cumsum(p_V[order]) - p_V[order]
    assume(np.abs(before - sampling.top_p).min() > 1e-4)  # float32 and float64 may differ right on the edge
    p_V[order[before >= sampling.top_p]] = 0
    return p_V / p_V.sum()


@settings(max_examples=80)
@given(
    logits=st.permutations(np.linspace(-2, 2, V).tolist()),
    forbidden=st.sets(st.integers(0, V - 1), max_size=V - 1),
    top_k=st.sampled_from([0, 1, 3, V, 3 * V]),
    top_p=st.sampled_from([1.0, 0.9, 0.5, 0.05]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 1000),
)
def test_draws_from_the_right_set_at_the_right_rate(logits, forbidden, top_k, top_p, temperature, seed):
    allowed_V = ~np.isin(np.arange(V), list(forbidden))
    sampling = Sampling(temperature, top_k, top_p)
    expected_V = _probabilities(np.array(logits), allowed_V, sampling)
    found_V = np.bincount(_draws(logits, allowed_V, sampling, seed), minlength=V) / DRAWS
    assert not found_V[expected_V == 0].any()
    deviation_V = np.sqrt(expected_V * (1 - expected_V) / DRAWS)
    assert (np.abs(found_V - expected_V) <= 5 * deviation_V + 1 / DRAWS).all()


@given(st.lists(st.floats(-5, 5, width=32), min_size=V, max_size=V), st.integers(0, V - 1))
def test_temperature_zero_takes_the_likeliest_allowed(logits, forbidden):
    allowed_V = np.arange(V) != forbidden
    drawn = _draws(logits, allowed_V, Sampling(temperature=0.0))
    assert set(drawn) == {int(np.argmax(np.where(allowed_V, np.float32(logits), -np.inf)))}
    assert drawn.dtype == np.int32


def test_a_narrow_nucleus_keeps_the_likeliest():
    assert set(_draws(np.arange(V), ALL_V, Sampling(top_p=1e-6))) == {V - 1}


def test_rows_and_keys_draw_on_their_own():
    flat = np.zeros(V)
    first, again, other = (_draws(flat, ALL_V, Sampling(), seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert len(set(first)) == V


def test_bfloat16_logits_are_widened():
    logits_BV = jnp.broadcast_to(jnp.arange(V, dtype=jnp.bfloat16), (4, V))
    assert sample(logits_BV, jnp.asarray(ALL_V), jax.random.key(0), Sampling(top_k=1)).tolist() == [V - 1] * 4


@settings(max_examples=30)
@given(
    logits=st.permutations(np.linspace(-2, 2, V).tolist()),
    min_p=st.sampled_from([0.05, 0.3, 1.0]),
    penalty=st.sampled_from([0.5, 1.3, 10.0]),
    held=st.sets(st.integers(0, V - 1)),
)
def test_min_p_and_the_repetition_penalty(logits, min_p, penalty, held):
    """What may be drawn: at least a share of the likeliest, once tokens that the row holds are less likely."""
    held_V = np.isin(np.arange(V), list(held))
    logits_V = np.array(logits)
    p_V = _softmax(np.where(held_V, np.where(logits_V < 0, logits_V * penalty, logits_V / penalty), logits_V))
    assume(np.abs(p_V - min_p * p_V.max()).min() > 1e-5 or min_p == 1)
    logits_BV, held_BV = (jnp.broadcast_to(jnp.asarray(x), (DRAWS, V)) for x in (np.float32(logits_V), held_V))
    sampling = Sampling(min_p=min_p, repetition_penalty=penalty)
    drawn = set(np.asarray(sample(logits_BV, jnp.asarray(ALL_V), jax.random.key(0), sampling, held_BV)).tolist())
    kept = set(np.flatnonzero(p_V >= min_p * p_V.max() * (1 - 1e-6)).tolist())
    assert drawn <= kept
    assert {i for i in kept if p_V[i] > 0.05} <= drawn
    greedy = Sampling(temperature=0.0, repetition_penalty=penalty)
    first = sample(logits_BV, jnp.asarray(ALL_V), jax.random.key(0), greedy, held_BV)
    assert p_V[int(first[0])] == pytest.approx(p_V.max(), rel=1e-5)


@pytest.mark.parametrize("bad", [{"min_p": -0.1}, {"min_p": 1.1}, {"repetition_penalty": 0.0}])
def test_other_settings_out_of_range(bad):
    with pytest.raises(UserError, match=r"min-p .* must be in \[0, 1\], the repetition penalty .* above 0"):
        Sampling(**bad)


@pytest.mark.parametrize("bad", [{"temperature": -0.1}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_settings_out_of_range(bad):
    with pytest.raises(UserError, match=r"temperature .* and top-k .* must be at least 0, top-p .* in \(0, 1\]"):
        Sampling(**bad)
