"""A model's parameters one by one: shapes, and how they are split. No arrays, no jax.

What is counted without arrays is counted from this list: parameters and FLOPs (models/cost.py), memory under a mesh.
"""

import math
from dataclasses import dataclass

from maxlm.models.config import ModelConfig


@dataclass(frozen=True)
class Tensor:
    """A parameter of a model: one array, or one in each layer."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]  # logical names of its dimensions: maxlm/parallel/axes.py
    in_layers: bool = True  # one in each layer, stacked
    multiplied: bool = False  # every token is multiplied with it; a tied embedding as the output matrix

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


def _norm(name: str, config: ModelConfig, in_layers: bool) -> list[Tensor]:
    scale = Tensor(name, (config.embed,), ("norm",), in_layers)
    return [scale, Tensor(f"{name}_bias", (config.embed,), ("norm",), in_layers)] if config.norm == "layer" else [scale]
