"""Shares and budgets are exact; stages take whole blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.config import DataConfig, ProduceConfig
from data_pipeline.mix.config import MixtureConfig, StageConfig
from data_pipeline.mix.schedule import budgets, caps, check_lengths, shares, stage_of, stages
from maxlm.errors import ConfigError

DOMAINS = ("code", "en", "zh")


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.integers(0, 10**13))
def test_budgets_sum_exactly_and_are_off_by_less_than_one(weights, tokens):
    share = np.array(weights) / np.sum(weights)
    found = budgets(share, tokens)
    assert found.sum() == tokens
    assert (np.abs(found - share * tokens) < 1 + 1e-9 * tokens).all()


def test_shares():
    sizes = np.array([30, 10, 60])
    np.testing.assert_allclose(shares(MixtureConfig(), DOMAINS, sizes), [0.3, 0.1, 0.6])
    np.testing.assert_allclose(shares(MixtureConfig(weights={"zh": 3, "code": 1}), DOMAINS, sizes), [0.25, 0, 0.75])
    np.testing.assert_allclose(shares(MixtureConfig(tokens={"zh": 30, "en": 10}), DOMAINS, sizes), [0, 0.25, 0.75])
    flat = np.sqrt([30, 10, 60])
    np.testing.assert_allclose(shares(MixtureConfig(temperature=2), DOMAINS, sizes), flat / flat.sum())
    np.testing.assert_allclose(shares(MixtureConfig(temperature=1e9), DOMAINS, np.array([5, 0, 7])), [0.5, 0, 0.5])
    curve = MixtureConfig(weights={"zh": [[0, 1], [100, 3]], "en": 1})
    np.testing.assert_allclose(shares(curve, DOMAINS, sizes, 50), [0, 1 / 3, 2 / 3])


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(ConfigError, match="no documents of domain 'cod'; did you mean 'code'"):
        shares(MixtureConfig(weights={"cod": 1}), DOMAINS, np.ones(3))
    with pytest.raises(ConfigError, match="no documents of source 'en'"):
        shares(MixtureConfig(by="source", weights={"en": 1}), DOMAINS, np.array([1, 0, 1]))
    with pytest.raises(ConfigError, match=r"config\.mixture\.max_uses_of: no documents of domain 'xx'"):
        shares(MixtureConfig(max_uses_of={"xx": 1}), DOMAINS, np.ones(3))


def test_caps():
    forever = np.iinfo(np.int64).max
    assert caps(MixtureConfig(), DOMAINS).tolist() == [forever] * 3
    assert caps(MixtureConfig(max_uses=4, max_uses_of={"en": 1}), DOMAINS).tolist() == [4, 1, 4]


def test_stages_are_rounded_to_whole_blocks():
    found = (StageConfig("a", 240), StageConfig("b", 160), StageConfig("c", 100))
    assert [stage_of(found, block * 100, 100) for block in range(7)] == [0, 0, 1, 1, 2, 2, 2]
    assert [stage_of(found, start, size) for start, size in ((0, 50), (200, 60), (200, 100), (390, 10))] == [0, 0, 1, 1]
    assert [stage.name for stage in stages(DataConfig())] == ["main"]


def test_lengths_that_cannot_be():
    with pytest.raises(ConfigError, match=r"'short' with 30 tokens gets no whole block of 100: make it longer"):
        check_lengths(DataConfig(stages=(StageConfig("long", 260), StageConfig("short", 30))), 100)
    check_lengths(DataConfig(stages=(StageConfig("long", 230), StageConfig("short", 30))), 100)
    with pytest.raises(ConfigError, match="'only' with 50 tokens gets no whole block"):
        check_lengths(DataConfig(stages=(StageConfig("only", 50),)), 100)
    check_lengths(DataConfig(stages=(StageConfig("only", 51),)), 100)
    mixture = MixtureConfig(tokens={"a": 300, "b": 500})
    produce = ProduceConfig(num_blocks=8)
    check_lengths(DataConfig(mixture=mixture, produce=produce), 100)
    check_lengths(DataConfig(mixture=mixture), 100)  # of any length
    with pytest.raises(
        ConfigError, match=r"config\.mixture: the tokens by name sum to 800, and there are 1,600 to split"
    ):
        check_lengths(DataConfig(mixture=mixture, produce=produce), 200)
    with pytest.raises(ConfigError, match=r"mixture of 'main': the tokens by name sum to 800, and there are 600"):
        check_lengths(DataConfig(stages=(StageConfig("main", 600, mixture=mixture),)), 100)
