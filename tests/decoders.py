"""Decoders in Hugging Face's layout with random weights, and what they compute, in float64 NumPy.

Written from the layout of published checkpoints, not from maxlm/interop: names and formulas stand here once more.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

VOCAB, EMBED, LAYERS, HEADS, KV_HEADS, HEAD_DIM, MLP = 48, 12, 2, 4, 2, 4, 20
_LLAMA = {
    "vocab_size": VOCAB, "hidden_size": EMBED, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "intermediate_size": MLP, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": False,
    "initializer_range": 0.02,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _LLAMA | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "mistral": _LLAMA | {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 5},
    "qwen2": _LLAMA | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3": _LLAMA | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": VOCAB, "n_embd": HEADS * HEAD_DIM,
        "n_layer": LAYERS, "n_head": HEADS, "n_positions": 64, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "initializer_range": 0.02,
    },
}  # fmt: skip


def weights(family: str, seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors of a model, float32, large enough that every one of them matters."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, mean: float = 0.0) -> None:
        made[name] = (mean + rng.normal(size=shape, scale=0.3)).astype(np.float32)

    if family == "gpt2":
        width = HEADS * HEAD_DIM
        normal("transformer.wte.weight", VOCAB, width)
        normal("transformer.wpe.weight", 64, width)
        shapes = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width), "mlp.c_fc": (width, 4 * width),
                  "mlp.c_proj": (4 * width, width)}  # fmt: skip
        norms = [f"transformer.h.{i}.{name}" for i in range(LAYERS) for name in ("ln_1", "ln_2")]
        for i in range(LAYERS):
            for name, shape in shapes.items():  # [in, out]
                normal(f"transformer.h.{i}.{name}.weight", *shape)
                normal(f"transformer.h.{i}.{name}.bias", shape[1])
        for name in [*norms, "transformer.ln_f"]:
            normal(f"{name}.weight", width, mean=1.0)
            normal(f"{name}.bias", width)
        return made
    normal("model.embed_tokens.weight", VOCAB, EMBED)
    shapes = {"self_attn.q_proj": (HEADS * HEAD_DIM, EMBED), "self_attn.k_proj": (KV_HEADS * HEAD_DIM, EMBED),
              "self_attn.v_proj": (KV_HEADS * HEAD_DIM, EMBED), "self_attn.o_proj": (EMBED, HEADS * HEAD_DIM),
              "mlp.gate_proj": (MLP, EMBED), "mlp.up_proj": (MLP, EMBED), "mlp.down_proj": (EMBED, MLP)}  # fmt: skip
    for i in range(LAYERS):
        for name, shape in shapes.items():  # [out, in]
            normal(f"model.layers.{i}.{name}.weight", *shape)
            if family == "qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj"):
                normal(f"model.layers.{i}.{name}.bias", shape[0])
        for name in ("input_layernorm", "post_attention_layernorm"):
            normal(f"model.layers.{i}.{name}.weight", EMBED, mean=1.0)
        for name in ("q_norm", "k_norm") if family == "qwen3" else ():
            normal(f"model.layers.{i}.self_attn.{name}.weight", HEAD_DIM, mean=1.0)
    normal("model.norm.weight", EMBED, mean=1.0)
    if not CONFIGS[family]["tie_word_embeddings"]:
        normal("lm_head.weight", VOCAB, EMBED)
    return made


def save(folder: Path, family: str, tensors: dict[str, np.ndarray], **config: Any) -> Path:
    """A folder as save_pretrained makes it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[family] | config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def logits(family: str, tensors: dict[str, np.ndarray], tokens_T: np.ndarray) -> np.ndarray:
    """Logits of one row `[seq_len, vocab]`, head by head."""
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    return (_gpt2 if family == "gpt2" else _llama)(family, t, tokens_T)


def _attend(q_TNH: np.ndarray, k_TKH: np.ndarray, v_TKH: np.ndarray, window: int) -> np.ndarray:
    T, N, H = q_TNH.shape
    apart = np.arange(T)[:, None] - np.arange(T)
    seen = (apart >= 0) & (apart < (window or T))
    heads = []
    for n in range(N):
        shared = n // (N // k_TKH.shape[1])
        scores = np.where(seen, np.exp(q_TNH[:, n] @ k_TKH[:, shared].T / math.sqrt(H)), 0)
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ v_TKH[:, shared])
    return np.concatenate(heads, axis=1)


def _llama(family: str, t: dict[str, np.ndarray], tokens_T: np.ndarray) -> np.ndarray:
    config = CONFIGS[family]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + config["rms_norm_eps"]) * t[f"{name}.weight"]

    def project(x: np.ndarray, name: str) -> np.ndarray:
        return x @ t[f"{name}.weight"].T + t.get(f"{name}.bias", 0.0)

    def turned(x: np.ndarray) -> np.ndarray:
        half = HEAD_DIM // 2
        turns = np.arange(len(x))[:, None] * config["rope_theta"] ** (-np.arange(half) / half)
        pairs = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * turns)[:, None]
        return np.concatenate([pairs.real, pairs.imag], axis=-1)

    x = t["model.embed_tokens.weight"][tokens_T]
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        h = norm(x, at + "input_layernorm")
        q, k, v = (project(h, f"{at}self_attn.{n}_proj").reshape(len(x), -1, HEAD_DIM) for n in "qkv")
        if family == "qwen3":
            q, k = norm(q, at + "self_attn.q_norm"), norm(k, at + "self_attn.k_norm")
        x = x + project(_attend(turned(q), turned(k), v, config.get("sliding_window", 0)), at + "self_attn.o_proj")
        h = norm(x, at + "post_attention_layernorm")
        gate = project(h, at + "mlp.gate_proj")
        x = x + project(gate / (1 + np.exp(-gate)) * project(h, at + "mlp.up_proj"), at + "mlp.down_proj")
    return norm(x, "model.norm") @ t.get("lm_head.weight", t["model.embed_tokens.weight"]).T


def _gpt2(family: str, t: dict[str, np.ndarray], tokens_T: np.ndarray) -> np.ndarray:
    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    def project(x: np.ndarray, name: str) -> np.ndarray:
        return x @ t[f"{name}.weight"] + t[f"{name}.bias"]

    x = t["transformer.wte.weight"][tokens_T] + t["transformer.wpe.weight"][: len(tokens_T)]
    for i in range(LAYERS):
        at = f"transformer.h.{i}."
        fused = project(norm(x, at + "ln_1"), at + "attn.c_attn")
        q, k, v = (part.reshape(len(x), HEADS, HEAD_DIM) for part in np.split(fused, 3, axis=1))
        x = x + project(_attend(q, k, v, 0), at + "attn.c_proj")
        up = project(norm(x, at + "ln_2"), at + "mlp.c_fc")
        gelu = 0.5 * up * (1 + np.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        x = x + project(gelu, at + "mlp.c_proj")
    return norm(x, "transformer.ln_f") @ t["transformer.wte.weight"].T
