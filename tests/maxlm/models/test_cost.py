"""Parameter counts against arrays and against published models; FLOPs against sums done by hand."""

import dataclasses
import math
from pathlib import Path

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.config import load
from maxlm.models.config import ModelConfig
from maxlm.models.cost import (
    flops_by_matrix,
    flops_per_token,
    matmul_params,
    num_params,
    recomputed_flops_per_token,
    train_flops_per_token,
    visible_keys,
)
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.chips import peak_of
from maxlm.train.config import Config

# What the released weights hold, embedding counted once where it is tied.
PUBLISHED = {
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_70b": 68_976_648_192,
    "llama3_8b": 8_030_261_248,
    "llama3_70b": 70_553_706_496,
    "llama3_405b": 405_853_388_800,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_1_5b": 1_543_714_304,
    "qwen2_5_3b": 3_085_938_688,
    "qwen2_5_7b": 7_615_616_512,
    "qwen2_5_14b": 14_770_033_664,
    "qwen2_5_32b": 32_763_876_352,
    "qwen2_5_72b": 72_706_203_648,
    "qwen3_0_6b": 596_049_920,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "qwen3_14b": 14_768_307_200,
    "qwen3_32b": 32_762_123_264,
    "mistral_7b_v0_1": 7_241_732_096,
    "gpt2_124m": 124_439_808,
    "gpt2_355m": 354_823_168,
    "gpt2_774m": 774_030_080,
    "gpt2_1558m": 1_557_611_200,
}
MATRICES = ("query", "key", "value", "out", "gate", "up", "down")
CONFIGS = Path(__file__).parents[3] / "configs"


def _counted(config: ModelConfig) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(DecoderFunction(config).abstract_params()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models(name):
    config = load(str(CONFIGS / f"{name}.py"), [], Config).model
    assert num_params(config) == PUBLISHED[name]
    assert _counted(config) == PUBLISHED[name]  # shapes only; no array is made


@settings(max_examples=25)
@given(
    vocab_size=st.integers(1, 300), embed=st.integers(1, 40), num_layers=st.integers(1, 4),
    num_kv_heads=st.integers(1, 3), group=st.integers(1, 4), half_head=st.integers(1, 8), mlp=st.integers(1, 50),
    tie_embeddings=st.booleans(), bias=st.sampled_from(["none", "qkv", "all"]), norm=st.sampled_from(["rms", "layer"]),
    mlp_kind=st.sampled_from(["swiglu", "gelu"]), qk_norm=st.booleans(), max_positions=st.integers(0, 9),
)  # fmt: skip
def test_counts_equal_the_arrays(num_kv_heads, group, half_head, max_positions, **sizes):
    config = ModelConfig(
        num_kv_heads=num_kv_heads, num_heads=num_kv_heads * group, head_dim=2 * half_head, max_positions=max_positions,
        position="learned" if max_positions else "rope", **sizes,
    )  # fmt: skip
    assert num_params(config) == _counted(config)
    params = DecoderFunction(config).abstract_params()
    tables = [params.pop("embedding"), params.pop("position", None), params.pop("output", None)]
    multiplied = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if path[-1].key in MATRICES]
    assert matmul_params(config) == sum(math.prod(leaf.shape) for leaf in [tables[0], *multiplied])


def test_flops_by_hand():
    config = ModelConfig(
        vocab_size=10, embed=8, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp=16, tie_embeddings=True
    )
    projections = 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8  # query, key, value, out
    swiglu = 3 * 8 * 16
    multiplied = 2 * (projections + swiglu) + 10 * 8
    assert matmul_params(config) == multiplied
    # One token of 6: q·k and weights·v take 2 · 2 heads · 4 · 6 FLOPs each, causal half of them, in 2 layers; the
    # backward pass takes twice the forward.
    attention = 3 * 2 * (2 * (2 * 2 * 4 * 6)) // 2
    assert train_flops_per_token(config, seq_len=6) == 6 * multiplied + attention == 7968
    # A window of 3: tokens of a document of 6 see 1, 2, 3, 3, 3, 3 keys, half a key each left out as above.
    windowed = dataclasses.replace(config, sliding_window=3)
    assert visible_keys(windowed, 6) == (1 + 2 + 3 + 3 + 3 + 3) / 6 - 0.25
    assert visible_keys(windowed, 2) == visible_keys(config, 2) == 1


def test_flops_by_the_conventions_of_papers():
    """nanoGPT's GPT-2 (124M) at 1024 tokens: its own total, PaLM's formula, and the causal half."""
    config = ModelConfig(
        vocab_size=50_257, embed=768, num_layers=12, num_heads=12, num_kv_heads=12, head_dim=64, mlp=3072,
        mlp_kind="gelu", norm="layer", position="learned", max_positions=1024,
    )  # fmt: skip
    found = flops_per_token(config, 1024).times(1024)
    # Its notebook transformer_sizing.ipynb: 874,944,921,600 with attention over the full square.
    assert found.square == 874_944_921_600
    assert (
        found.square - found.no_attention == 2 * (found.causal - found.no_attention) == 1024 * 12 * 12 * 12 * 64 * 1024
    )
    assert found.causal == pytest.approx(817_080_827_904, rel=2e-4)


def test_palm_reports_what_its_formula_gives():
    """PaLM 540B (appendix B, table 3): 238.3k tokens/s on 6144 TPU v4 chips are 45.7 % without attention, 46.2 with."""
    peak = 6144 * peak_of("TPU v4", "bfloat16")
    config = ModelConfig(  # 118 layers, 48 heads of 256 with one key and value, MLP of 4 · 18432 with two gates
        vocab_size=256_000, embed=18_432, num_layers=118, num_heads=48, num_kv_heads=1, head_dim=256, mlp=4 * 18_432
    )
    flops = flops_per_token(config, 2048)
    assert 238.3e3 * flops.no_attention / peak == pytest.approx(0.457, abs=0.001)
    assert 238.3e3 * flops.square / peak == pytest.approx(0.462, abs=0.001)


def test_flops_that_rematerialisation_adds():
    """The layers' forward pass once more, a third of what they cost; "attention" keeps that of attention."""
    config = ModelConfig(vocab_size=10, embed=8, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=4, mlp=16)
    layers = train_flops_per_token(config, 6) - 6 * 10 * 8
    attention = 3 * 2 * (2 * (2 * 2 * 4 * 6)) // 2
    expected = {"none": 0, "dots": 0, "attention": (layers - attention) / 3, "full": layers / 3, "offload": layers / 3}
    for policy, flops in expected.items():
        assert recomputed_flops_per_token(dataclasses.replace(config, remat=policy), 6) == pytest.approx(flops), policy


def test_nanogpts_figures():
    """nanoGPT's transformer_sizing.ipynb: GPT-2 without biases, 1024 tokens; and the PaLM formula that it compares."""
    config, T = load(str(CONFIGS / "gpt2_124m.py"), [], Config).model, 1024
    found = flops_by_matrix(config, T, square=True)
    assert T * found.forward == 291_648_307_200
    assert T * found.model == 874_944_921_600
    plain = dataclasses.replace(config, bias="none", norm="rms")  # norms with a scale only, as without biases there
    assert num_params(plain) == 124_337_664
    counted = num_params(plain) - T * config.embed  # without the positions
    assert T * (6 * counted + 3 * found.attention) == 875_062_886_400
    halved = flops_by_matrix(config, T)  # what causal attention computes, as MaxText counts it
    assert T * (6 * counted + 3 * halved.attention) == 817_080_827_904


@pytest.mark.parametrize("remat", ["none", "dots", "attention", "full", "offload"])
def test_what_is_made_anew_is_apart(remat):
    config = dataclasses.replace(load(str(CONFIGS / "llama3_8b.py"), [], Config).model, remat=remat)
    found = flops_by_matrix(config, 4096)
    assert found.model == flops_by_matrix(dataclasses.replace(config, remat="none"), 4096).hardware
