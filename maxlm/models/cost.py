"""What a model costs: parameters and FLOPs as arithmetic on its config. No arrays, no jax."""

from typing import NamedTuple

from maxlm.models.config import ModelConfig


def num_params(config: ModelConfig) -> int:
    """Parameters, embedding included once where it is tied."""
    heads, norm = config.num_heads + 2 * config.num_kv_heads, config.embed * (2 if config.norm == "layer" else 1)
    layer = _attention_matrices(config) + _mlp_matrices(config) + 2 * norm
    layer += config.head_dim * heads if config.bias != "none" else 0
    layer += 2 * config.embed + config.mlp * (2 if config.mlp_kind == "swiglu" else 1) if config.bias == "all" else 0
    layer += 2 * config.head_dim if config.qk_norm else 0
    tables = config.vocab_size * (1 if config.tie_embeddings else 2) + config.max_positions
    return config.num_layers * layer + tables * config.embed + norm


def matmul_params(config: ModelConfig) -> int:
    """Parameters that every token is multiplied with: no norms, biases, input embedding; the output matrix always."""
    layer = _attention_matrices(config) + _mlp_matrices(config)
    return config.num_layers * layer + config.vocab_size * config.embed


def visible_keys(config: ModelConfig, seq_len: int) -> float:
    """Keys that a query of one document of seq_len tokens sees on average, half a key left out as papers do."""
    window = min(config.sliding_window or seq_len, seq_len)
    return window * (1 - window / (2 * seq_len))


class Flops(NamedTuple):
    """FLOPs of forward and backward, rematerialisation not counted, by the three conventions that papers use."""

    causal: float  # attention over the keys that the causal mask and the window leave; ours
    square: float  # attention over all seq_len keys (PaLM, Chowdhery et al., 2022, appendix B)
    no_attention: float  # 6 per matmul parameter alone

    def times(self, tokens: float) -> "Flops":
        return Flops(*(tokens * flops for flops in self))


def flops_per_token(config: ModelConfig, seq_len: int) -> Flops:
    """Of training on one token of a row of `seq_len`.

    6 per matmul parameter (PaLM's N; it counts no more for an embedding that is looked up), and for attention
    12 · layers · heads · head_dim · keys.
    """
    matmuls = 6.0 * matmul_params(config)
    per_key = 12 * config.num_layers * config.num_heads * config.head_dim
    return Flops(matmuls + per_key * visible_keys(config, seq_len), matmuls + per_key * seq_len, matmuls)


def train_flops_per_token(config: ModelConfig, seq_len: int) -> float:
    """FLOPs of training on one token, attention over visible keys: without a window, half of the square."""
    return flops_per_token(config, seq_len).causal


def _attention_matrices(config: ModelConfig) -> int:
    return config.embed * config.head_dim * 2 * (config.num_heads + config.num_kv_heads)


def _mlp_matrices(config: ModelConfig) -> int:
    return config.embed * config.mlp * (3 if config.mlp_kind == "swiglu" else 2)
