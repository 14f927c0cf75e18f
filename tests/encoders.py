"""Encoders in Hugging Face's layout with random weights, and what they compute, in float64 NumPy.

Written from the layout of published checkpoints, not from maxlm/interop: names and formulas stand here once more.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

VOCAB, EMBED, LAYERS, HEADS, MLP, POSITIONS = 40, 12, 2, 3, 20, 24

_BERT = {
    "model_type": "bert", "vocab_size": VOCAB, "hidden_size": EMBED, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "intermediate_size": MLP, "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2, "pad_token_id": 0, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "roberta": _BERT | {"model_type": "roberta", "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5},
    "electra": _BERT | {"model_type": "electra", "embedding_size": 8},
    "distilbert": {
        "model_type": "distilbert", "vocab_size": VOCAB, "dim": EMBED, "n_layers": LAYERS, "n_heads": HEADS,
        "hidden_dim": MLP, "max_position_embeddings": POSITIONS, "pad_token_id": 0, "activation": "gelu",
    },
}  # fmt: skip
# names within a layer: query, key, value, attention output, norm, up, down, norm
_LAYER = {
    "bert": ("encoder.layer.{}.", ("attention.self.query", "attention.self.key", "attention.self.value",
             "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense",
             "output.LayerNorm")),
    "distilbert": ("transformer.layer.{}.", ("attention.q_lin", "attention.k_lin", "attention.v_lin",
                   "attention.out_lin", "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm")),
}  # fmt: skip
HEAD = {  # family -> dense layer and output of a classifier's head; "" before a name: below the prefix
    "bert": (".pooler.dense", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "electra": ("classifier.dense", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "classifier"),
}


def _layer(family: str) -> tuple[str, tuple[str, ...]]:
    return _LAYER["distilbert" if family == "distilbert" else "bert"]


def weights(family: str, labels: int = 0, prefix: str = "", seed: int = 0) -> dict[str, np.ndarray]:
    """All tensors of a model, float32, large enough that every one of them matters."""
    rng, config = np.random.default_rng(seed), CONFIGS[family]
    made: dict[str, np.ndarray] = {}

    def table(name: str, rows: int, width: int) -> None:
        made[f"{name}.weight"] = rng.normal(size=(rows, width), scale=0.5)

    def dense(name: str, out: int, inner: int) -> None:
        made[f"{name}.weight"] = rng.normal(size=(out, inner), scale=1.5 / math.sqrt(inner))
        made[f"{name}.bias"] = rng.normal(size=out, scale=0.3)

    def norm(name: str, width: int) -> None:
        made[f"{name}.weight"] = 1 + rng.normal(size=width, scale=0.2)
        made[f"{name}.bias"] = rng.normal(size=width, scale=0.2)

    width = config.get("embedding_size", EMBED)
    table(f"{prefix}embeddings.word_embeddings", VOCAB, width)
    table(f"{prefix}embeddings.position_embeddings", POSITIONS, width)
    if family != "distilbert":
        table(f"{prefix}embeddings.token_type_embeddings", config["type_vocab_size"], width)
    norm(f"{prefix}embeddings.LayerNorm", width)
    if width != EMBED:
        dense(f"{prefix}embeddings_project", EMBED, width)
    start, parts = _layer(family)
    for i in range(LAYERS):
        query, key, value, out, norm_1, up, down, norm_2 = (prefix + start.format(i) + part for part in parts)
        for name in (query, key, value, out):
            dense(name, EMBED, EMBED)
        norm(norm_1, EMBED)
        dense(up, MLP, EMBED)
        dense(down, EMBED, MLP)
        norm(norm_2, EMBED)
    if labels:
        first, last = HEAD[family]
        dense(prefix + first[1:] if first.startswith(".") else first, EMBED, EMBED)
        dense(last, labels, EMBED)
    elif family in ("bert", "roberta"):
        dense(f"{prefix}pooler.dense", EMBED, EMBED)
    return {name: value.astype(np.float32) for name, value in made.items()}


def save(folder: Path, family: str, tensors: dict[str, np.ndarray], **config: Any) -> Path:
    """A folder as save_pretrained makes it."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[family] | config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def classifier(folder: Path, family: str, labels: tuple[str, ...], seed: int = 0) -> Path:
    """A folder with a model for sequence classification."""
    named = {
        "architectures": ["ForSequenceClassification"], "id2label": {str(i): name for i, name in enumerate(labels)},
    }  # fmt: skip
    return save(folder, family, weights(family, len(labels), f"{family}.", seed), **named)


def hidden_states(
    family: str, tensors: dict[str, np.ndarray], tokens_BT: np.ndarray, mask_BT: np.ndarray, types_BT: Any = None
) -> np.ndarray:
    """The states after the last layer, one row and one head at a time."""
    tensors = {
        name.removeprefix(f"{family}."): value.astype(np.float64) for name, value in tensors.items()
    }  # as without prefix
    rows = []
    for b, tokens_T in enumerate(tokens_BT):
        types_T = np.zeros_like(tokens_T) if types_BT is None else types_BT[b]
        rows.append(_row(family, tensors, tokens_T, mask_BT[b], types_T))
    return np.stack(rows)


def _row(family: str, tensors: dict, tokens_T: np.ndarray, mask_T: np.ndarray, types_T: np.ndarray) -> np.ndarray:
    config = CONFIGS[family]
    eps = config.get("layer_norm_eps", 1e-12)

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
        return (x - x.mean(axis=-1, keepdims=True)) / spread * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    positions = np.arange(len(tokens_T))
    if family == "roberta":  # counted from padding's id + 1, over tokens that are no padding
        pad = config["pad_token_id"]
        positions = [
            pad if t == pad else pad + np.count_nonzero(tokens_T[: i + 1] != pad) for i, t in enumerate(tokens_T)
        ]
    x = tensors["embeddings.word_embeddings.weight"][tokens_T]
    x = x + tensors["embeddings.position_embeddings.weight"][positions]
    if family != "distilbert":
        x = x + tensors["embeddings.token_type_embeddings.weight"][types_T]
    x = norm(x, "embeddings.LayerNorm")
    if "embeddings_project.weight" in tensors:
        x = dense(x, "embeddings_project")
    start, parts = _layer(family)
    for i in range(LAYERS):
        query, key, value, out, norm_1, up, down, norm_2 = (start.format(i) + part for part in parts)
        q, k, v = dense(x, query), dense(x, key)[mask_T], dense(x, value)[mask_T]
        heads = []
        for h in range(HEADS):
            part = slice(h * EMBED // HEADS, (h + 1) * EMBED // HEADS)
            scores = np.exp(q[:, part] @ k[:, part].T / math.sqrt(EMBED // HEADS))
            heads.append(scores / scores.sum(axis=-1, keepdims=True) @ v[:, part])
        x = norm(x + dense(np.concatenate(heads, axis=-1), out), norm_1)
        inner = dense(x, up)
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + dense(inner, down), norm_2)
    return x


def logits(family: str, tensors: dict[str, np.ndarray], hidden_BTD: np.ndarray) -> np.ndarray:
    """The head's outputs `[batch, labels]`."""
    first, last = HEAD[family]
    first = family + first if first.startswith(".") else first
    x = hidden_BTD[:, 0] @ tensors[f"{first}.weight"].T.astype(np.float64) + tensors[f"{first}.bias"]
    if family == "distilbert":
        x = np.maximum(x, 0)
    elif family == "electra":
        x = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    else:
        x = np.tanh(x)
    return x @ tensors[f"{last}.weight"].T.astype(np.float64) + tensors[f"{last}.bias"]


def batch(family: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens int32 `[4, 16]` of different lengths, padded at the end, and their mask."""
    rng, lengths = np.random.default_rng(seed), np.array([16, 9, 3, 1])
    mask_BT = np.arange(16) < lengths[:, None]
    tokens_BT = rng.integers(5, VOCAB, mask_BT.shape).astype(np.int32)
    return np.where(mask_BT, tokens_BT, CONFIGS[family]["pad_token_id"]).astype(np.int32), mask_BT
