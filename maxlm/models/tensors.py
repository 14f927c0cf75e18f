"""A model's parameters one by one, and what they cost: shapes, how they are split, FLOPs. No arrays, no jax.

models/cost.py has the totals; a test holds the two equal.
"""

import math
from dataclasses import dataclass

from maxlm.models.config import ModelConfig
from maxlm.models.cost import visible_keys


@dataclass(frozen=True)
class Tensor:
    """A parameter of a model: one array, or one in each layer."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]  # logical names of its dimensions: maxlm/parallel/axes.py
    in_layers: bool = True  # one in each layer, stacked
    multiplied: bool = False  # every token is multiplied with it

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def tensors(config: ModelConfig) -> list[Tensor]:
    """All parameters of a model, in the order in which a token meets them."""
    D, N, K, H = config.embed, config.num_heads, config.num_kv_heads, config.head_dim
    V, biased = config.vocab_size, config.bias == "all"
    found = [Tensor("embedding", (V, D), ("vocab", "embed"), in_layers=False, multiplied=config.tie_embeddings)]
    if config.position == "learned":
        found.append(Tensor("position", (config.max_positions, D), ("positions", "embed"), in_layers=False))
    found += _norm("attention_norm", config, in_layers=True)
    heads = {"query": (N, "heads"), "key": (K, "kv_heads"), "value": (K, "kv_heads")}
    for name, (number, axis) in heads.items():
        found.append(Tensor(name, (D, number, H), ("embed", axis, "head_dim"), multiplied=True))
        if config.bias != "none":
            found.append(Tensor(f"{name}_bias", (number, H), (axis, "head_dim")))
    if config.qk_norm:
        found += [Tensor("query_norm", (H,), ("norm",)), Tensor("key_norm", (H,), ("norm",))]
    found.append(Tensor("out", (N, H, D), ("heads", "head_dim", "embed"), multiplied=True))
    found += [Tensor("out_bias", (D,), ("norm",))] if biased else []
    found += _norm("mlp_norm", config, in_layers=True)
    for name in ("gate", "up") if config.mlp_kind == "swiglu" else ("up",):
        found.append(Tensor(name, (D, config.mlp), ("embed", "mlp"), multiplied=True))
        found += [Tensor(f"{name}_bias", (config.mlp,), ("mlp",))] if biased else []
    found.append(Tensor("down", (config.mlp, D), ("mlp", "embed"), multiplied=True))
    found += [Tensor("down_bias", (D,), ("norm",))] if biased else []
    found += _norm("norm", config, in_layers=False)
    if not config.tie_embeddings:
        found.append(Tensor("output", (V, D), ("vocab", "embed"), in_layers=False, multiplied=True))
    return found


def copies(tensor: Tensor, config: ModelConfig) -> int:
    return config.num_layers if tensor.in_layers else 1


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


def cache_bytes_per_token(config: ModelConfig, bytes_each: float = 2) -> float:
    """Bytes that a token's keys and values take in all layers while text is generated."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * bytes_each


def _norm(name: str, config: ModelConfig, in_layers: bool) -> list[Tensor]:
    scale = Tensor(name, (config.embed,), ("norm",), in_layers)
    return [scale, Tensor(f"{name}_bias", (config.embed,), ("norm",), in_layers)] if config.norm == "layer" else [scale]
