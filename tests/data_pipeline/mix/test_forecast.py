"""What is foretold is what happens: held against sums by hand, and against selection itself."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from data_pipeline.config import DataConfig, ProduceConfig
from data_pipeline.mix import forecast
from data_pipeline.mix.choose import Chooser
from data_pipeline.mix.config import FilterConfig, MixtureConfig, ScoreRangeConfig, SelectConfig, StageConfig
from data_pipeline.mix.ledger import Ledger
from data_pipeline.mix.pools import pools
from maxlm.errors import ConfigError
from tests.data_pipeline.mix.indexes import index

# 1000 documents of 100 bytes each: at 4 bytes a token 25,000 tokens: 10,000 of a, 15,000 of b.
CORPUS = index(["a"] * 400 + ["b"] * 600, scores={"quality": [i / 1000 for i in range(1000)]})
RATIOS = np.array([4.0, 4.0])


def foretold(config, blocks, tokens=1000, corpus=CORPUS):
    return forecast.foretell(config, pools(corpus, config), RATIOS, [tokens] * blocks)


def test_uses_by_block():
    found = foretold(DataConfig(mixture=MixtureConfig(weights={"a": 1, "b": 1})), 40)
    np.testing.assert_allclose(found.size, [10_000, 15_000])
    np.testing.assert_allclose(found.uses[-1], [20_000 / 10_000, 20_000 / 15_000])
    np.testing.assert_allclose(found.taken, 500)
    assert found.used_up().tolist() == [19, 29]
    assert found.full.tolist() == [-1, -1]
    assert forecast.warnings(found) == [
        "a was used once by block 19, then it is repeated: 2.0 uses by block 39",
        "b was used once by block 29, then it is repeated: 1.3 uses by block 39",
    ]


def test_what_is_capped_hands_over_and_then_the_run_ends():
    mixture = MixtureConfig(weights={"a": 1, "b": 1}, max_uses=2)
    config = DataConfig(mixture=mixture, produce=ProduceConfig(num_blocks=60))
    found = foretold(config, 60)
    assert found.full.tolist() == [39, 49]
    np.testing.assert_allclose(found.taken[40:], [[0, 1000]] * 10)
    assert found.lasts == 50  # 2 × 25,000 tokens
    assert forecast.warnings(found) == [
        "b was used once by block 29, then it is repeated: 2.0 uses by block 49",
        "a lasts until block 39 (2.0 uses of each document by then); then others take its place",
        "documents last for 50 blocks; then there is too little of a, b",
    ]
    with pytest.raises(
        ConfigError, match=r"documents last for 50 of 60 blocks \(a, b used up\): set .*num_blocks to 50"
    ):
        forecast.check(found, config)
    stop = MixtureConfig(weights={"a": 1, "b": 1}, max_uses=2, exhausted="stop")
    stopped = foretold(DataConfig(mixture=stop), 60)
    assert (stopped.lasts, stopped.short) == (40, ("a",))


def test_stages_and_the_most_used():
    best = FilterConfig(scores=(ScoreRangeConfig("quality", min=0.9),))  # 100 documents of b: 2,500 tokens
    config = DataConfig(stages=(StageConfig("main", 10_000), StageConfig("anneal", 5000, filter=best)))
    found = foretold(config, 15)
    assert found.stage.tolist() == [0] * 10 + [1] * 5
    np.testing.assert_allclose(found.taken[9], [400, 600])
    np.testing.assert_allclose(found.taken[10], [0, 1000])
    # In main each document of b was used 0.4 times; 5,000 tokens more of the best make 2.4.
    np.testing.assert_allclose(found.uses[-1], [0.4, 11_000 / 15_000])
    np.testing.assert_allclose(found.most_uses[-1], [0.4, 2.4])
    console = Console(width=140, record=True, file=io.StringIO())
    for table in forecast.tables(found, config):
        console.print(table)
    text = console.export_text()
    assert "40.0%→0.0%" in text
    assert "anneal │ 10–14" in text


def test_the_least_used_pool_comes_first():
    best = FilterConfig(scores=(ScoreRangeConfig("quality", min=0.9),))
    config = DataConfig(stages=(StageConfig("anneal", 5000, filter=best), StageConfig("main", 10_000)))
    found = foretold(config, 15)
    np.testing.assert_allclose(found.most_uses[-1], [0.4, 2.0])  # what was annealed on waits until the others follow


def test_how_far_it_looks():
    totals = pools(CORPUS, DataConfig())
    assert forecast.blocks_of(DataConfig(produce=ProduceConfig(num_blocks=7)), totals, RATIOS, 1000) == 7
    assert forecast.blocks_of(DataConfig(stages=(StageConfig("a", 5400),)), totals, RATIOS, 1000) == 5
    assert forecast.blocks_of(DataConfig(), totals, RATIOS, 1000) == 50  # everything twice


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([0, 2, 3]), st.integers(1, 8), st.sampled_from([300, 700]))
def test_it_comes_as_foretold(tmp_path_factory, a, b, cap, blocks, tokens):
    """Selection on documents, block by block, against the forecast on totals: to a document's length."""
    corpus, folder = index(["a"] * 40 + ["b"] * 60), tmp_path_factory.mktemp("run")  # 25 tokens each
    config = DataConfig(
        mixture=MixtureConfig(weights={"a": a, "b": b}, max_uses=cap), select=SelectConfig(spread_tokens=0)
    )
    totals = pools(corpus, config)
    found = forecast.foretell(config, totals, RATIOS, [tokens] * blocks)
    ledger, chooser = Ledger(folder, "digest", 100), Chooser(config, corpus, totals, workers=1)
    for block in range(found.lasts):
        choice = chooser.choose(
            block, block * tokens, tokens, ledger, lambda ordinals: np.full(len(ordinals), 25), RATIOS
        )
        # A budget's last document is used though only a part of it fits, so that a cap is reached that much sooner.
        assert np.abs(choice.budgets - found.taken[block]).max() <= 25 * (block + 1)
        ledger.record(block, choice.documents, choice.budgets.tolist(), 0)
        ledger.reconcile(lambda number: True, ())
        uses = [ledger.uses(0, 40).mean(), ledger.uses(40, 100).mean()]
        assert np.abs(uses - found.uses[block]).max() <= (block + 1) / 40 + 0.1
