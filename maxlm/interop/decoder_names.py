"""How Hugging Face names and lays out a decoder's tensors: one table for each layout, and the shapes on either side.

Ours are stacked over layers; theirs are one tensor for each layer, `{}` in a name. On both sides rotary pairs are
(i, i + head_dim / 2), so that no rows change places. Meta's own checkpoints pair neighbours; these are not read.
"""

import math
import re
from typing import NamedTuple

import numpy as np

Path = tuple[str, ...]  # of a parameter, in the tree of DecoderFunction


class Stored(NamedTuple):
    """Where a parameter lies: in a tensor, or in one of several equal parts side by side."""

    tensor: str
    part: int = 0
    parts: int = 1


class Layout(NamedTuple):
    """How a group of families stores its tensors."""

    table: dict[str, Stored]  # our path, dotted -> place
    transposed: bool  # matrices as [out, in] (torch's Linear); else [in, out], as ours (GPT-2's Conv1D)
    optional_prefix: str  # tensors saved without the output matrix lack it
    ignored: re.Pattern[str]  # buffers that old versions saved


_LLAMA = {
    "embedding": "model.embed_tokens.weight",
    "layers.attention_norm.scale": "model.layers.{}.input_layernorm.weight",
    "layers.attention.query": "model.layers.{}.self_attn.q_proj.weight",
    "layers.attention.key": "model.layers.{}.self_attn.k_proj.weight",
    "layers.attention.value": "model.layers.{}.self_attn.v_proj.weight",
    "layers.attention.out": "model.layers.{}.self_attn.o_proj.weight",
    "layers.attention.query_bias": "model.layers.{}.self_attn.q_proj.bias",
    "layers.attention.key_bias": "model.layers.{}.self_attn.k_proj.bias",
    "layers.attention.value_bias": "model.layers.{}.self_attn.v_proj.bias",
    "layers.attention.out_bias": "model.layers.{}.self_attn.o_proj.bias",
    "layers.attention.query_norm.scale": "model.layers.{}.self_attn.q_norm.weight",
    "layers.attention.key_norm.scale": "model.layers.{}.self_attn.k_norm.weight",
    "layers.mlp_norm.scale": "model.layers.{}.post_attention_layernorm.weight",
    "layers.mlp.gate": "model.layers.{}.mlp.gate_proj.weight",
    "layers.mlp.up": "model.layers.{}.mlp.up_proj.weight",
    "layers.mlp.down": "model.layers.{}.mlp.down_proj.weight",
    "layers.mlp.gate_bias": "model.layers.{}.mlp.gate_proj.bias",
    "layers.mlp.up_bias": "model.layers.{}.mlp.up_proj.bias",
    "layers.mlp.down_bias": "model.layers.{}.mlp.down_proj.bias",
    "norm.scale": "model.norm.weight",
    "output": "lm_head.weight",
}
_GPT2 = {
    "embedding": "transformer.wte.weight",
    "position": "transformer.wpe.weight",
    "layers.attention_norm.scale": "transformer.h.{}.ln_1.weight",
    "layers.attention_norm.bias": "transformer.h.{}.ln_1.bias",
    "layers.attention.out": "transformer.h.{}.attn.c_proj.weight",
    "layers.attention.out_bias": "transformer.h.{}.attn.c_proj.bias",
    "layers.mlp_norm.scale": "transformer.h.{}.ln_2.weight",
    "layers.mlp_norm.bias": "transformer.h.{}.ln_2.bias",
    "layers.mlp.up": "transformer.h.{}.mlp.c_fc.weight",
    "layers.mlp.up_bias": "transformer.h.{}.mlp.c_fc.bias",
    "layers.mlp.down": "transformer.h.{}.mlp.c_proj.weight",
    "layers.mlp.down_bias": "transformer.h.{}.mlp.c_proj.bias",
    "norm.scale": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "output": "lm_head.weight",
}
_GPT2_FUSED = {
    f"layers.attention.{ours}{suffix}": Stored(f"transformer.h.{{}}.attn.c_attn.{theirs}", part, 3)
    for part, ours in enumerate(("query", "key", "value"))
    for suffix, theirs in (("", "weight"), ("_bias", "bias"))
}

LLAMA = Layout({path: Stored(name) for path, name in _LLAMA.items()}, True, "model.", re.compile(r".*rotary_emb\."))
GPT2 = Layout(
    {path: Stored(name) for path, name in _GPT2.items()} | _GPT2_FUSED,
    False,
    "transformer.",
    re.compile(r".*\.attn\.(masked_)?bias$"),
)
# config.json's model_type -> (class that `architectures` names, layout)
MODEL_TYPES: dict[str, tuple[str, Layout]] = {
    "llama": ("LlamaForCausalLM", LLAMA),
    "mistral": ("MistralForCausalLM", LLAMA),
    "qwen2": ("Qwen2ForCausalLM", LLAMA),
    "qwen3": ("Qwen3ForCausalLM", LLAMA),
    "gpt2": ("GPT2LMHeadModel", GPT2),
}

# Matrices within layers: how many of a layer's dimensions are summed over; the others come out.
_INPUT_DIMS = {"query": 1, "key": 1, "value": 1, "out": 2, "gate": 1, "up": 1, "down": 1}
_TABLES = ("embedding", "position", "output")


def is_stacked(path: Path) -> bool:
    """Whether the parameter has a first dimension of layers."""
    return path[0] == "layers"


def stored_shape(layout: Layout, path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the whole tensor that a parameter of `shape` (of one layer) lies in."""
    parts = layout.table[".".join(path)].parts
    if path[-1] in _INPUT_DIMS:
        split = _INPUT_DIMS[path[-1]]
        matrix = math.prod(shape[:split]), math.prod(shape[split:]) * parts
        return matrix[::-1] if layout.transposed else matrix
    return shape if path[-1] in _TABLES else (math.prod(shape) * parts,)


def to_ours(layout: Layout, path: Path, shape: tuple[int, ...], tensor: np.ndarray) -> np.ndarray:
    """A view of a tensor as the parameter of `shape`, of one layer."""
    _, part, parts = layout.table[".".join(path)]
    if path[-1] in _INPUT_DIMS and layout.transposed:
        tensor = tensor.T
    width = tensor.shape[-1] // parts
    return tensor[..., part * width : (part + 1) * width].reshape(shape)


def to_stored(layout: Layout, path: Path, parts: list[np.ndarray]) -> np.ndarray:
    """The tensor made of a layer's parameters; `path` is any of theirs. A view where there is one part."""
    if path[-1] in _INPUT_DIMS:
        split = _INPUT_DIMS[path[-1]]
        parts = [value.reshape(math.prod(value.shape[:split]), -1) for value in parts]
    elif path[-1] not in _TABLES:
        parts = [value.reshape(-1) for value in parts]
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    return whole.T if path[-1] in _INPUT_DIMS and layout.transposed else whole
