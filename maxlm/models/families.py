"""What the published families share, as changes to the defaults of ModelConfig; a config file adds the sizes.

Sources: Llama 2 (Touvron et al., 2023, arXiv 2307.09288), Llama 3 (Grattafiori et al., 2024, arXiv 2407.21783) and its
3.2 model cards, Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388), Mistral 7B (Jiang et al., 2023, arXiv
2310.06825), GPT-2 (Radford et al., 2019), and the config.json of each released model.
"""

from typing import Any

from maxlm.errors import did_you_mean

FAMILIES: dict[str, dict[str, Any]] = {
    "llama2": {"vocab_size": 32_000, "head_dim": 128, "tie_embeddings": False},
    "llama3": {
        "vocab_size": 128_256, "num_kv_heads": 8, "head_dim": 128, "rope_base": 500_000.0, "tie_embeddings": False,
    },
    "llama3.2": {
        "vocab_size": 128_256, "num_kv_heads": 8, "mlp": 8192, "rope_base": 500_000.0, "tie_embeddings": True,
        "rope_scaling": {"kind": "llama3", "factor": 32.0, "original_length": 8192},
    },
    "qwen2.5": {
        "vocab_size": 152_064, "head_dim": 128, "bias": "qkv", "norm_eps": 1e-6, "rope_base": 1_000_000.0,
        "tie_embeddings": False,
    },
    "qwen3": {
        "vocab_size": 151_936, "num_kv_heads": 8, "head_dim": 128, "qk_norm": True, "norm_eps": 1e-6,
        "rope_base": 1_000_000.0, "tie_embeddings": False,
    },
    "mistral": {
        "vocab_size": 32_000, "num_kv_heads": 8, "head_dim": 128, "sliding_window": 4096, "tie_embeddings": False,
    },
    "gpt2": {
        "vocab_size": 50_257, "head_dim": 64, "mlp_kind": "gelu", "norm": "layer", "bias": "all", "position": "learned",
        "max_positions": 1024, "tie_embeddings": True,
    },
}  # fmt: skip


def family(name: str, **sizes: Any) -> dict[str, Any]:
    """The changes of a family with sizes of one of its models, for ``config.model.update(...)``.

    Raises:
      ValueError: no such family.
    """
    if name not in FAMILIES:
        raise ValueError(f"no family {name!r}{did_you_mean(name, FAMILIES)}")
    return {**FAMILIES[name], **sizes}
