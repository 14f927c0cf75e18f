"""What a model costs: parameters and FLOPs as arithmetic on its config. No arrays, no jax."""

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


def train_flops_per_token(config: ModelConfig, seq_len: int) -> float:
    """FLOPs of forward and backward for one token, rematerialisation not counted.

    6 per matmul parameter, and 12 · layers · heads · head_dim · keys for attention. PaLM (appendix B) takes seq_len for
    the keys, the full square; we take those that the causal mask and the window leave: without a window, half of it.
    """
    attention = 12 * config.num_layers * config.num_heads * config.head_dim * visible_keys(config, seq_len)
    return 6 * matmul_params(config) + attention


def _attention_matrices(config: ModelConfig) -> int:
    return config.embed * config.head_dim * 2 * (config.num_heads + config.num_kv_heads)


def _mlp_matrices(config: ModelConfig) -> int:
    return config.embed * config.mlp * (3 if config.mlp_kind == "swiglu" else 2)
