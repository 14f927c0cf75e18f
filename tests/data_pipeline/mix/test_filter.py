"""A stage's filter holds for the documents that it says."""

import numpy as np
import pytest

from data_pipeline.config import DataConfig
from data_pipeline.mix.config import FilterConfig, OrderConfig, ScoreRangeConfig, StageConfig
from data_pipeline.mix.filter import columns_asked, resolve
from data_pipeline.mix.order import sample_scores
from data_pipeline.mix.pools import pools
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.mix.indexes import index

NAN = float("nan")
INDEX = index(
    ["zh", "zh", "zh", "zh", "en", "en", "en", "en"],
    sources=["web", "web", "taught", "books", "web", "web", "books", "web"],
    languages=["zh"] * 4 + ["en"] * 4,
    held_out=[False] * 7 + [True],
    scores={"quality": [0.1, 0.4, 0.2, NAN, 0.9, 0.3, 0.8, 1.0], "empty": [NAN] * 8},
    marks={"x.y": [True, False] * 4, "p.q": [False, False, True, True] * 2},
    size=[10, 20, 30, 40, 50, 60, 70, 80],
)


def quality(**bound):
    return FilterConfig(scores=(ScoreRangeConfig("quality", **bound),))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (FilterConfig(), [0, 1, 2, 3, 4, 5, 6]),
        (FilterConfig(domains=("zh",)), [0, 1, 2, 3]),
        (FilterConfig(languages=("en",), sources=("web", "taught")), [4, 5]),
        (FilterConfig(marks=("x.y", "p.q")), [0, 2, 3, 4, 6]),
        (FilterConfig(without_marks=("x.y",)), [1, 3, 5]),
        (quality(min=0.3), [1, 4, 5, 6]),
        (quality(max=0.3), [0, 2, 5]),
        (quality(min=0.3, domains=("en",)), [0, 1, 2, 3, 4, 5, 6]),
        (quality(min=0.85, domains=("en",)), [0, 1, 2, 3, 4]),
        (quality(top=0.5), [1, 2, 4, 6]),  # of each domain that has a score: the upper half, the middle counted
        (FilterConfig(scores=(ScoreRangeConfig("length", max=40),)), [0, 1, 2, 3]),
        (FilterConfig(scores=(ScoreRangeConfig("quality", min=0.85),), always_sources=("taught",)), [2, 4]),
    ],
)
def test_filters(config, expected):
    holds = resolve(INDEX, config, "domain")
    assert np.flatnonzero(holds(0, 8)).tolist() == expected
    assert np.flatnonzero(np.concatenate([holds(0, 3), holds(3, 8)])).tolist() == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (FilterConfig(domains=("zz",)), "no documents of domain 'zz'"),
        (FilterConfig(sources=("webb",)), "no documents of source 'webb'; did you mean 'web'"),
        (FilterConfig(scores=(ScoreRangeConfig("empty", min=0),)), "no document has a score 'empty': score them"),
    ],
)
def test_what_no_document_has_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        resolve(INDEX, config, "domain")


def test_what_cannot_be_filled_is_told_before_the_run():
    with pytest.raises(ConfigError, match=r"config\.order\.by: no document has a score 'empty'.*or order by 'length'"):
        pools(INDEX, DataConfig(order=OrderConfig(by="empty")))
    config = DataConfig(stages=(StageConfig("best", 5, filter=quality(min=2.0)),))
    with pytest.raises(ConfigError, match="the filter of 'best' leaves no document"):
        pools(INDEX, config)
    with pytest.raises(DataError, match="no text to train on"):
        pools(index(["a"], held_out=[True]), DataConfig())


def test_columns_that_a_config_asks_for():
    stages = (
        StageConfig("a", 5, filter=FilterConfig(marks=("m.n",), without_marks=("o.p",))),
        StageConfig("b", 5, order=OrderConfig(by="depth"), filter=quality(min=0)),
    )
    config = DataConfig(order=OrderConfig(by="length"), stages=stages)
    assert columns_asked(config) == ({"depth", "quality"}, {"m.n", "o.p"})
    assert columns_asked(DataConfig()) == (set(), set())


def test_pools_sum_up_what_stages_take():
    config = DataConfig(stages=(StageConfig("all", 5), StageConfig("best", 5, filter=quality(min=0.3))))
    found = pools(INDEX, config)
    assert found.documents.sum() == 7
    assert found.sizes("domain", 0).tolist() == [180, 100]  # en, zh
    assert found.sizes("domain", 1).tolist() == [180, 20]
    assert found.sizes("source", 1).tolist() == [70, 0, 130]  # books, taught, web
    np.testing.assert_allclose(found.ratios("domain", np.array([4.0, 2.0])), [4, 2])
    np.testing.assert_allclose(found.ratios("source", np.array([4.0, 2.0]))[2], 140 / (110 / 4 + 30 / 2))


def test_scores_of_many_documents_are_sampled_evenly(monkeypatch):
    monkeypatch.setattr("data_pipeline.mix.order.SAMPLE", 1000)
    rng = np.random.default_rng(0)
    found = index(["a"] * 20_000 + ["b"] * 300, scores={"q": rng.random(20_300).tolist()})
    sample = sample_scores(found, "q", found.codes["domain"], lambda begin, end: np.ones(end - begin, bool), 2)
    assert 800 < len(sample[0]) < 1200
    assert len(sample[1]) == 300  # all of a small group
    np.testing.assert_allclose(np.quantile(sample[0], [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)
