"""What a model costs: parameters and FLOPs as arithmetic on its config. No arrays, no jax."""

from dataclasses import dataclass
from typing import NamedTuple

from maxlm.models.config import ModelConfig
from maxlm.models.tensors import copies, tensors


def num_params(config: ModelConfig) -> int:
    """Parameters, embedding included once where it is tied."""
    return sum(tensor.size * copies(tensor, config) for tensor in tensors(config))


def matmul_params(config: ModelConfig) -> int:
    """Parameters that every token is multiplied with: no norms, biases, input embedding; the output matrix always."""
    return sum(tensor.size * copies(tensor, config) for tensor in tensors(config) if tensor.multiplied)


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


@dataclass(frozen=True)
class FlopsByMatrix:
    """FLOPs of one token, on average over a sequence; a multiplication and an addition are two.

    The backward pass takes twice the forward's: each product has two gradients. What rematerialisation computes anew is
    counted apart and belongs to no utilisation of model FLOPs.
    """

    matrices: dict[str, float]  # forward, by matrix, over all layers
    attention: float  # forward: query · key and weights · value, over all layers
    recomputed: float

    @property
    def forward(self) -> float:
        return sum(self.matrices.values()) + self.attention

    @property
    def backward(self) -> float:
        return 2 * self.forward

    @property
    def model(self) -> float:
        return self.forward + self.backward

    @property
    def hardware(self) -> float:
        return self.model + self.recomputed


def flops_by_matrix(config: ModelConfig, seq_len: int, *, square: bool = False) -> FlopsByMatrix:
    """FLOPs of a token in a document of seq_len tokens, matrix by matrix.

    Args:
      square: count all seq_len keys for every query, as PaLM (appendix B) and nanoGPT do; else those that the causal
        mask and the window leave, which without a window is half of them.
    """
    matrices = {
        tensor.name: 2.0 * tensor.size * copies(tensor, config) for tensor in tensors(config) if tensor.multiplied
    }
    if config.tie_embeddings:
        matrices["output"] = matrices.pop("embedding")
    keys = seq_len if square else visible_keys(config, seq_len)
    attention = 4.0 * config.num_layers * config.num_heads * config.head_dim * keys
    products = sum(matrices.values()) - matrices["output"]  # of the layers, which remat is about
    anew = {"none": 0.0, "dots": 0.0, "attention": products}
    return FlopsByMatrix(matrices, attention, anew.get(config.remat, products + attention))


def flops_per_token(config: ModelConfig, seq_len: int) -> Flops:
    """Of training on one token of a row of `seq_len`.

    6 per matmul parameter (PaLM's N; it counts no more for an embedding that is looked up), and for attention
    12 · layers · heads · head_dim · keys.
    """
    causal, square = (flops_by_matrix(config, seq_len, square=square) for square in (False, True))
    return Flops(causal.model, square.model, 3 * sum(causal.matrices.values()))


def train_flops_per_token(config: ModelConfig, seq_len: int) -> float:
    """FLOPs of training on one token, attention over visible keys: without a window, half of the square."""
    return flops_per_token(config, seq_len).causal


def recomputed_flops_per_token(config: ModelConfig, seq_len: int) -> float:
    """FLOPs for one token that the backward pass does anew, as `config.remat` says. The output matrix never is."""
    return flops_by_matrix(config, seq_len).recomputed


def cache_bytes_per_token(config: ModelConfig, bytes_each: float = 2) -> float:
    """Bytes that a token's keys and values take in all layers while text is generated."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * bytes_each
