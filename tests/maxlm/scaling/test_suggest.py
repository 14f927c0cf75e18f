"""Suggested models: of the size, of good proportions, and such that they divide."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.config import load
from maxlm.errors import ConfigError
from maxlm.models.cost import num_params
from maxlm.scaling.suggest import Wishes, aspect, batch_tokens, config_file, learning_rate, suggest
from maxlm.train.config import Config


@settings(max_examples=30, deadline=None)
@given(st.floats(7.5, 12), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]))
def test_proportions(log_params, stage, tensor):
    params = 10**log_params
    try:
        model = suggest(params, Wishes(stage=stage, tensor=tensor, fsdp=64))
    except ConfigError:
        assert stage * tensor > 1  # too small to be split so often
        assert params < 1e9
        return
    assert num_params(model) == pytest.approx(params, rel=0.0101)
    assert model.num_layers % stage == 0
    for size in (model.num_heads, model.num_kv_heads, model.mlp, model.vocab_size):
        assert size % tensor == 0
    assert model.num_heads % 8 == 0 or model.num_heads < 8
    assert model.embed % 128 == model.vocab_size % 128 == model.mlp % 128 == 0
    assert model.num_heads * model.head_dim == model.embed
    assert model.head_dim == (128 if params >= 2e9 else 64)
    assert model.tie_embeddings == (params < 1.5e9)
    if stage * tensor == 1 or params >= 1e9:  # a small model for many stages has few shapes to choose of
        assert 0.25 < model.embed / model.num_layers / aspect(params) < 4


def test_depth_and_width_grow_together():
    models = [suggest(10**n) for n in (8.5, 9.5, 10.5, 11.5)]
    assert sorted(m.embed for m in models) == [m.embed for m in models]
    assert sorted(m.num_layers for m in models) == [m.num_layers for m in models]


@pytest.mark.parametrize("params", [1e5, 1e6, 3e6])
def test_small_proxies(params):
    assert num_params(suggest(params, Wishes(vocab_size=512))) == pytest.approx(
        params, rel=0.051 if params >= 1e6 else 0.13
    )


def test_what_cannot_be():
    with pytest.raises(ConfigError, match=r"no model of 1e\+08 parameters divides by .*tensor=64"):
        suggest(1e8, Wishes(tensor=64))
    with pytest.raises(ConfigError, match="too few"):
        suggest(10)
    with pytest.raises(ConfigError, match="1 or more"):
        Wishes(tensor=0)


def test_the_file_holds_the_model(tmp_path):
    model = suggest(1e9)
    file = tmp_path / "mine.py"
    file.write_text(config_file(model, "A model.", {"train.batch": 64, "optimizer.learning_rate": 3e-4}))
    config = load(str(file), [], Config)
    assert config.model == model
    assert (config.train.batch, config.optimizer.learning_rate) == (64, 3e-4)


def test_deepseeks_settings():
    """DeepSeek-AI, 2024 (arXiv 2401.02954), section 3.1: 0.3118 · C^-0.1250 and 0.2920 · C^0.3271 tokens."""
    assert learning_rate(1e20) == pytest.approx(0.3118 * 10**-2.5)
    assert batch_tokens(1e20) == pytest.approx(0.2920 * 10**6.542)
