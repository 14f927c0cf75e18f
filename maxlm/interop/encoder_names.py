"""How Hugging Face names what an encoder is made of, by family: keys of config.json, tensors, classes. Tables only."""

import re
from typing import Any

from maxlm.errors import ConfigError, DataError, did_you_mean
from maxlm.models.encoder_config import EncoderConfig, Family

# config.json's model_type -> (family, what stands before the names of tensors in models with a head)
MODEL_TYPES: dict[str, tuple[Family, str]] = {
    "bert": ("bert", "bert"),
    "roberta": ("roberta", "roberta"),
    "xlm-roberta": ("roberta", "roberta"),
    "camembert": ("roberta", "roberta"),
    "distilbert": ("distilbert", "distilbert"),
    "electra": ("electra", "electra"),
}
CLASS_NAMES = {
    "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert",
    "distilbert": "DistilBert", "electra": "Electra",
}  # fmt: skip
WITH_HEAD = "ForSequenceClassification"

_BERT_KEYS = {
    "vocab_size": "vocab_size", "embed": "hidden_size", "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads", "mlp": "intermediate_size", "max_positions": "max_position_embeddings",
    "num_types": "type_vocab_size", "pad_id": "pad_token_id", "activation": "hidden_act",
    "norm_eps": "layer_norm_eps", "dropout": "hidden_dropout_prob", "init_std": "initializer_range",
}  # fmt: skip
# our field -> key of config.json
CONFIG_KEYS: dict[Family, dict[str, str]] = {
    "bert": _BERT_KEYS,
    "roberta": _BERT_KEYS,
    "electra": _BERT_KEYS | {"embedding_width": "embedding_size"},
    "distilbert": {
        "vocab_size": "vocab_size", "embed": "dim", "num_layers": "n_layers", "num_heads": "n_heads",
        "mlp": "hidden_dim", "max_positions": "max_position_embeddings", "pad_id": "pad_token_id",
        "activation": "activation", "dropout": "dropout", "init_std": "initializer_range",
    },
}  # fmt: skip
# What transformers takes for a key that is not there; the others must be given.
DEFAULTS: dict[Family, dict[str, Any]] = {
    "bert": {"pad_id": 0, "num_types": 2},
    "roberta": {"pad_id": 1, "num_types": 2},
    "electra": {"pad_id": 0, "num_types": 2, "embedding_width": 128},
    "distilbert": {"pad_id": 0},
}
# transformers' name of an activation -> ours; the first of several is what an export writes
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip

_EMBEDDINGS = {
    "embeddings.token": "embeddings.word_embeddings",
    "embeddings.position": "embeddings.position_embeddings",
    "embeddings.type": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "embeddings.widen": "embeddings_project",
}
_BERT_MODULES = {
    **_EMBEDDINGS,
    "layers.attention.query": "encoder.layer.{}.attention.self.query",
    "layers.attention.key": "encoder.layer.{}.attention.self.key",
    "layers.attention.value": "encoder.layer.{}.attention.self.value",
    "layers.attention.out": "encoder.layer.{}.attention.output.dense",
    "layers.attention_norm": "encoder.layer.{}.attention.output.LayerNorm",
    "layers.up": "encoder.layer.{}.intermediate.dense",
    "layers.down": "encoder.layer.{}.output.dense",
    "layers.mlp_norm": "encoder.layer.{}.output.LayerNorm",
}
_DISTILBERT_MODULES = {
    **_EMBEDDINGS,
    "layers.attention.query": "transformer.layer.{}.attention.q_lin",
    "layers.attention.key": "transformer.layer.{}.attention.k_lin",
    "layers.attention.value": "transformer.layer.{}.attention.v_lin",
    "layers.attention.out": "transformer.layer.{}.attention.out_lin",
    "layers.attention_norm": "transformer.layer.{}.sa_layer_norm",
    "layers.up": "transformer.layer.{}.ffn.lin1",
    "layers.down": "transformer.layer.{}.ffn.lin2",
    "layers.mlp_norm": "transformer.layer.{}.output_layer_norm",
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}

# Heads of other tasks, and buffers that old versions saved: no part of an encoder.
_NOT_OURS = re.compile(
    r"(.*\.)?embeddings\.(position_ids|token_type_ids)$|(.*\.)?pooler\.|"
    r"(cls|lm_head|qa_outputs|classifier|pre_classifier|vocab_\w+|sequence_summary|"
    r"discriminator_predictions|generator_predictions|generator_lm_head)\."
)


def tensor_name(config: EncoderConfig, path: tuple[str, ...], prefix: str) -> str:
    """The name of a parameter's tensor; ``{}`` stands for the layer. `prefix` is "bert." or the like, or ""."""
    *module, leaf = path
    if leaf in ("token", "position", "type"):
        module, leaf = list(path), "kernel"
    joined = ".".join(module)
    if joined == "head":
        name = "classifier.out_proj" if config.family in ("roberta", "electra") else "classifier"
    elif joined == "pooler":
        name = _pooler_name(config, prefix)
    else:
        modules = _DISTILBERT_MODULES if config.family == "distilbert" else _BERT_MODULES
        name = prefix + modules[joined]
    return f"{name}.{_LEAVES[leaf]}"


def _pooler_name(config: EncoderConfig, prefix: str) -> str:
    if config.family == "distilbert":
        return "pre_classifier"
    if config.family == "electra" or (config.family == "roberta" and config.num_labels):
        return "classifier.dense"
    return prefix + "pooler.dense"


def is_transposed(path: tuple[str, ...]) -> bool:
    """Whether the tensor is stored as [out, in]: matrices are, tables of embeddings are not."""
    return path[-1] == "kernel"


def may_be_left(name: str) -> bool:
    """Whether a tensor that no parameter asked for belongs to another task's head."""
    return _NOT_OURS.match(name) is not None


def config_from_hf(values: dict[str, Any], where: object) -> EncoderConfig:
    """The encoder that a config.json describes, with neither pooler nor head.

    Raises:
      ConfigError: a family or an option that this encoder does not have.
      DataError: a key is missing or of the wrong type.
    """
    kind = values.get("model_type")
    if kind not in MODEL_TYPES:
        raise ConfigError(
            f"{where}: model_type {kind!r} is no encoder known here{did_you_mean(str(kind), MODEL_TYPES)}"
        )
    for key, supported in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if values.get(key, supported) not in (supported, None):
            raise ConfigError(f"{where}: {key}={values[key]!r} is not supported, only {supported!r}")
    family = MODEL_TYPES[kind][0]
    fields: dict[str, Any] = {"family": family, "pooler": False}
    if family == "distilbert":
        fields["num_types"] = 0
    for field, key in CONFIG_KEYS[family].items():
        fields[field] = _checked(values, key, field, DEFAULTS[family], where)
    if fields["activation"] not in ACTIVATIONS:
        near = did_you_mean(fields["activation"], ACTIVATIONS)
        raise ConfigError(f"{where}: activation {fields['activation']!r} is not supported{near}")
    fields["activation"] = ACTIVATIONS[fields["activation"]]
    return EncoderConfig(**fields)


_OPTIONAL: dict[str, Any] = {"activation": "gelu", "norm_eps": 1e-12, "dropout": 0.1, "init_std": 0.02}


def _checked(values: dict[str, Any], key: str, field: str, defaults: dict[str, Any], where: object) -> Any:
    value = values.get(key)
    if value is None:
        if field not in defaults and field not in _OPTIONAL:
            raise DataError(f"{where}: lacks {key!r}, a whole number; is it a model's config.json?")
        return defaults.get(field, _OPTIONAL.get(field))
    kind = type(_OPTIONAL.get(field, 0))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: {key} should be of type {kind.__name__}, found {value!r}")
    return value


def labels_from_hf(values: dict[str, Any], where: object) -> tuple[str, ...]:
    """The names of the head's outputs in a config.json; () where it describes no classifier.

    Raises:
      ConfigError: a text may have several of the labels at once.
      DataError: id2label's keys are not 0, 1, 2, …
    """
    if not any(str(name).endswith(WITH_HEAD) for name in values.get("architectures") or ()):
        return ()
    if values.get("problem_type") == "multi_label_classification":
        raise ConfigError(
            f"{where}: problem_type 'multi_label_classification' is not supported: labels exclude each other"
        )
    named = values.get("id2label")
    if not isinstance(named, dict) or not named:
        # transformers leaves the two default labels out
        return tuple(f"LABEL_{i}" for i in range(int(values.get("num_labels") or 2)))
    try:
        return tuple(str(named[str(i)]) for i in range(len(named)))
    except KeyError as error:
        raise DataError(f"{where}: id2label has no {error}; its keys are 0 to {len(named) - 1}") from error


def config_to_hf(config: EncoderConfig, model_type: str, labels: tuple[str, ...], regression: bool) -> dict[str, Any]:
    """The values of a config.json that transformers and `config_from_hf` read back."""
    values: dict[str, Any] = {
        "model_type": model_type,
        "architectures": [CLASS_NAMES[model_type] + (WITH_HEAD if config.num_labels else "Model")],
        "dtype": "float32",
    }
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == config.activation)
    for field, key in CONFIG_KEYS[config.family].items():
        value = config.table_width if field == "embedding_width" else getattr(config, field)
        values[key] = activation if field == "activation" else value
    if config.num_labels:
        values["id2label"] = {str(i): label for i, label in enumerate(labels)}
        values["label2id"] = {label: i for i, label in enumerate(labels)}
        values["problem_type"] = "regression" if regression else "single_label_classification"
    return values
