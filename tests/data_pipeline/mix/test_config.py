"""A mixture that cannot be says what is wrong with it and the way out."""

import pytest

from data_pipeline.config import DataConfig
from data_pipeline.mix.config import MixtureConfig, at_tokens
from maxlm.config import freeze
from maxlm.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"mixture": {"shares": {"zh": 0.4, "en": 0.4, "code": 0.1}}},
            r"mixture\.shares: they sum to 0\.9, not to 1: change one by \+0\.1, or give config\.mixture\.weights",
        ),
        (
            {"mixture": {"shares": {"a": [[0, 0.5], [100, 1.0]], "b": 0.5}}},
            r"they sum to 1\.5 at 100 tokens, not to 1: change one by -0\.5",
        ),
        ({"mixture": {"shares": {"a": 1.0}, "weights": {"a": 1}}}, "shares and weights are given; one of them"),
        ({"mixture": {"shares": {"a": "half"}}}, r"shares\.a: expected a number or a list of \[tokens seen, share\]"),
        ({"mixture": {"weights": {"a": [[5, 1], [5, 2]]}}}, r"weights\.a: the points' tokens must ascend"),
        ({"mixture": {"weights": {"a": -1, "b": 2}}}, r"weights\.a: .* no share is negative"),
        ({"mixture": {"weights": {"a": 0, "b": 2}}}, r"none is 0 throughout; leave the name out"),
        ({"mixture": {"weights": {"a": [[0, 1], [9, 0]]}}}, r"weights: nothing has a share at 9 tokens"),
        ({"mixture": {"tokens": {"a": 0}}}, "each name needs at least 1"),
        ({"mixture": {"temperature": 0}}, "temperature: 0.0 is not above 0"),
        ({"mixture": {"max_uses_of": {"a": 0}}}, "max_uses: no negative number"),
        ({"mixture": {"by": "domains"}}, "'domains' is not a choice; did you mean 'domain'"),
        ({"mixture": {"zh": 0.4}}, r"config\.mixture\.zh: unknown key"),
        ({"stages": [{"name": "anneal"}]}, r"config\.stages\[0\]: needs tokens"),
        ({"stages": [{"name": "anneal", "tokens": 0}]}, "stage 'anneal' has no length: give its tokens"),
        ({"stages": [{"name": "a", "tokens": 5}, {"name": "a", "tokens": 5}]}, "'a' is there twice"),
        (
            {"stages": [{"name": "a", "tokens": 5, "filter": {"scores": [{"score": "q", "top": 0}]}}]},
            r"top 0.0 of score",
        ),
        ({"order": {"noise": 1.5}}, r"order\.noise: 1\.5 is outside \[0, 1\]"),
        ({"order": {"by": "q", "lot": "row_group"}}, r"order\.lot: row groups are drawn at random"),
        (
            {"order": {"by": "q"}, "select": {"decay": 0.5}},
            r"select\.decay: an order by a score leaves nothing to chance",
        ),
        ({"select": {"decay": 1.5}}, r"select\.decay: 1\.5 is outside"),
        ({"select": {"spread_tokens": -1}}, "spread_tokens: -1 is negative"),
    ],
)
def test_mistakes(values, message):
    with pytest.raises(ConfigError, match=message):
        freeze(DataConfig, values)


def test_weights_may_sum_to_anything_and_shares_almost_to_one():
    assert MixtureConfig(weights={"zh": 4, "en": 4, "code": 2}).curves()["code"] == ((0.0, 2.0),)
    MixtureConfig(shares={"a": 1 / 3, "b": 1 / 3, "c": 1 / 3 + 5e-7})
    with pytest.raises(ConfigError):
        MixtureConfig(shares={"a": 1 / 3, "b": 1 / 3, "c": 1 / 3 + 5e-6})


def test_curves_are_linear_between_their_points_and_level_outside():
    points = ((10.0, 0.2), (20.0, 0.4), (40.0, 0.0))
    found = [at_tokens(points, tokens) for tokens in (0, 10, 15, 20, 30, 40, 99)]
    assert found == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.2, 0.0, 0.0])
