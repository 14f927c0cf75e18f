"""Parameter counts against arrays and against published models; FLOPs against sums done by hand."""

import math

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maxlm.models.config import ModelConfig
from maxlm.models.cost import matmul_params, num_params, train_flops_per_token
from maxlm.models.decoder import DecoderFunction

# Sizes from each model's config.json on the Hugging Face hub; totals are those of the released weights.
PUBLISHED = {
    "Llama 2 7B (Touvron et al., 2023, arXiv 2307.09288)": (
        6_738_415_616,
        {"vocab_size": 32_000, "embed": 4096, "num_layers": 32, "num_heads": 32, "num_kv_heads": 32, "head_dim": 128,
         "mlp": 11_008, "tie_embeddings": False},
    ),
    "Llama 2 13B (the same)": (
        13_015_864_320,
        {"vocab_size": 32_000, "embed": 5120, "num_layers": 40, "num_heads": 40, "num_kv_heads": 40, "head_dim": 128,
         "mlp": 13_824, "tie_embeddings": False},
    ),
    "Llama 2 70B (the same)": (
        68_976_648_192,
        {"vocab_size": 32_000, "embed": 8192, "num_layers": 80, "num_heads": 64, "num_kv_heads": 8, "head_dim": 128,
         "mlp": 28_672, "tie_embeddings": False},
    ),
    "Llama 3 8B (Grattafiori et al., 2024, arXiv 2407.21783)": (
        8_030_261_248,
        {"vocab_size": 128_256, "embed": 4096, "num_layers": 32, "num_heads": 32, "num_kv_heads": 8, "head_dim": 128,
         "mlp": 14_336, "tie_embeddings": False},
    ),
    "Llama 3 405B (the same)": (
        405_853_388_800,
        {"vocab_size": 128_256, "embed": 16_384, "num_layers": 126, "num_heads": 128, "num_kv_heads": 8,
         "head_dim": 128, "mlp": 53_248, "tie_embeddings": False},
    ),
    "Llama 3.2 1B (model card, 2024)": (
        1_235_814_400,
        {"vocab_size": 128_256, "embed": 2048, "num_layers": 16, "num_heads": 32, "num_kv_heads": 8, "head_dim": 64,
         "mlp": 8192, "tie_embeddings": True},
    ),
    "Llama 3.2 3B (model card, 2024)": (
        3_212_749_824,
        {"vocab_size": 128_256, "embed": 3072, "num_layers": 28, "num_heads": 24, "num_kv_heads": 8, "head_dim": 128,
         "mlp": 8192, "tie_embeddings": True},
    ),
    "Mistral 7B v0.1 (Jiang et al., 2023, arXiv 2310.06825)": (
        7_241_732_096,
        {"vocab_size": 32_000, "embed": 4096, "num_layers": 32, "num_heads": 32, "num_kv_heads": 8, "head_dim": 128,
         "mlp": 14_336, "tie_embeddings": False},
    ),
}  # fmt: skip


def _counted(config: ModelConfig) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(DecoderFunction(config).abstract_params()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models(name):
    total, sizes = PUBLISHED[name]
    config = ModelConfig(**sizes)
    assert num_params(config) == total
    assert _counted(config) == total  # shapes only; no array is made


@settings(max_examples=12)
@given(
    st.integers(1, 300), st.integers(1, 40), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4),
    st.integers(1, 8), st.integers(1, 50), st.booleans(),
)  # fmt: skip
def test_counts_equal_the_arrays(vocab, embed, layers, kv_heads, group, half_head, mlp, tied):
    config = ModelConfig(
        vocab_size=vocab, embed=embed, num_layers=layers, num_kv_heads=kv_heads, num_heads=kv_heads * group,
        head_dim=2 * half_head, mlp=mlp, tie_embeddings=tied,
    )  # fmt: skip
    assert num_params(config) == _counted(config)
    norms = embed * (2 * layers + 1)
    lookup_only = 0 if tied else vocab * embed
    assert matmul_params(config) == num_params(config) - norms - lookup_only


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
