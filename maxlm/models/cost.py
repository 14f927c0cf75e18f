"""What a model costs: parameters and FLOPs as arithmetic on its config. No arrays, no jax."""

from maxlm.models.config import ModelConfig


def num_params(config: ModelConfig) -> int:
    """Parameters, embedding included once where it is tied."""
    attention = config.embed * config.head_dim * 2 * (config.num_heads + config.num_kv_heads)
    layer = attention + 3 * config.embed * config.mlp + 2 * config.embed
    embeddings = config.vocab_size * config.embed * (1 if config.tie_embeddings else 2)
    return config.num_layers * layer + embeddings + config.embed


def matmul_params(config: ModelConfig) -> int:
    """Parameters that every token is multiplied with: no norms, no input embedding, the output one always."""
    attention = config.embed * config.head_dim * 2 * (config.num_heads + config.num_kv_heads)
    return config.num_layers * (attention + 3 * config.embed * config.mlp) + config.vocab_size * config.embed


def train_flops_per_token(config: ModelConfig, seq_len: int) -> int:
    """FLOPs of forward and backward for one token, rematerialisation not counted.

    6 per matmul parameter, and 12 · layers · heads · head_dim · seq_len for attention, which PaLM (appendix B) counts
    over the full square. We halve the attention term, since the causal mask leaves half of the square.
    """
    attention = 6 * config.num_layers * config.num_heads * config.head_dim * seq_len
    return 6 * matmul_params(config) + attention
