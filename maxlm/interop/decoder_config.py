"""config.json of a decoder, in and out. What a config asks for and our decoder does not have is named and refused."""

from dataclasses import dataclass
from typing import Any

from maxlm.errors import ConfigError, DataError, did_you_mean
from maxlm.interop.decoder_names import MODEL_TYPES
from maxlm.models.config import ModelConfig, RopeScaling

# our field -> key of config.json, whole numbers that must be there
_SIZES = {
    "vocab_size": "vocab_size", "embed": "hidden_size", "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads", "mlp": "intermediate_size",
}  # fmt: skip
_GPT2_SIZES = {
    "vocab_size": "vocab_size", "embed": "n_embd", "num_layers": "n_layer", "num_heads": "n_head",
    "max_positions": "n_positions",
}  # fmt: skip
_MOST, _MOST_LAYERS = 1 << 32, 1 << 14  # of any size; what a file says is not made room for
_GELU_TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
# Options with one value that our decoder computes; the first is what a config means that leaves the key out.
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1.0, None)},
    "mistral": {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1.0, None)},
    "qwen2": {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1.0, None)},
    "qwen3": {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1.0, None), "attention_bias": (False,)},
    "gpt2": {
        "activation_function": _GELU_TANH, "scale_attn_weights": (True,), "add_cross_attention": (False,),
        "scale_attn_by_inverse_layer_idx": (False,),
    },
}  # fmt: skip
# What reading would need code or numbers that we do not take from a folder.
_FOREIGN = {
    "auto_map": "code of its own, which is not run",
    "quantization_config": "quantised weights, which are not read",
}
# our field -> key of a RoPE scaling, by kind; the last one's default is the model's own context
_ROPE_KEYS: dict[str, dict[str, str]] = {
    "none": {},
    "linear": {"factor": "factor"},
    "yarn": {
        "factor": "factor", "original_length": "original_max_position_embeddings", "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
    },
    "llama3": {
        "factor": "factor", "original_length": "original_max_position_embeddings",
        "low_freq_factor": "low_freq_factor", "high_freq_factor": "high_freq_factor",
    },
}  # fmt: skip
_ROPE_OPTIONAL: dict[str, float] = {"beta_fast": 32.0, "beta_slow": 1.0}
# Options of a scaling that change its formula, and the value that leaves it as ours is
_ROPE_ONLY: dict[str, tuple[Any, ...]] = {
    "truncate": (True, None), "attention_factor": (None,), "mscale": (None,), "mscale_all_dim": (None,),
    "partial_rotary_factor": (1.0, None),
}  # fmt: skip


@dataclass(frozen=True)
class Described:
    """What a config.json says."""

    model_type: str
    model: ModelConfig
    max_length: int  # the longest context, tokens


def config_from_hf(values: dict[str, Any], where: object) -> Described:
    """The decoder that a config.json describes.

    Raises:
      ConfigError: a family or an option that our decoder does not have.
      DataError: a key is missing or of the wrong type.
    """
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise ConfigError(
            f"{where}: model_type {kind!r} is no decoder known here{did_you_mean(str(kind), MODEL_TYPES)}"
        )
    _refuse_foreign(values, kind, where)
    for key, supported in _ONLY[kind].items():
        _check_only(values, key, supported, where)
    try:
        fields = _gpt2_fields(values, where) if kind == "gpt2" else _llama_fields(values, kind, where)
        fields["init_std"] = _number(values, "initializer_range", where, 0.02)
        max_length = fields.get("max_positions") or _whole(values, "max_position_embeddings", where)
        return Described(kind, ModelConfig(**fields), max_length)
    except ConfigError as error:
        raise error if str(where) in str(error) else ConfigError(f"{where}: {error}") from error


def _refuse_foreign(values: dict[str, Any], kind: str, where: object) -> None:
    for key, reason in _FOREIGN.items():
        if values.get(key):
            raise ConfigError(f"{where}: {key}: the model needs {reason}")
    wanted, named = MODEL_TYPES[kind][0], values.get("architectures") or [MODEL_TYPES[kind][0]]
    if not isinstance(named, list) or wanted not in named:
        raise ConfigError(f"{where}: architectures={named!r} is not supported; of {kind} only {wanted!r} is")


def _check_only(values: dict[str, Any], key: str, supported: tuple[Any, ...], where: object) -> None:
    if values.get(key, supported[0]) not in supported:
        known = " or ".join(repr(value) for value in supported if value is not None) or "none at all"
        raise ConfigError(f"{where}: {key}={values[key]!r} is not supported, only {known}")


def _llama_fields(values: dict[str, Any], kind: str, where: object) -> dict[str, Any]:
    fields: dict[str, Any] = {field: _size(values, key, where) for field, key in _SIZES.items()}
    fields["num_kv_heads"] = _whole(values, "num_key_value_heads", where, fields["num_heads"])
    usual = 128 if kind == "qwen3" else fields["embed"] // fields["num_heads"]
    fields["head_dim"] = _whole(values, "head_dim", where, usual)
    fields["norm_eps"] = _number(values, "rms_norm_eps", where, 1e-6)
    fields["tie_embeddings"] = _flag(values, "tie_word_embeddings", where, False)
    fields["qk_norm"] = kind == "qwen3"
    fields["bias"] = "qkv" if kind == "qwen2" else _llama_bias(values, where) if kind == "llama" else "none"
    fields["sliding_window"] = _window(values, kind, fields["num_layers"], where)
    return fields | _rope(values, where)


def _llama_bias(values: dict[str, Any], where: object) -> str:
    """With attention's alone, that of its output has to be zeros: `FolderModel` looks."""
    attention, mlp = (_flag(values, key, where, False) for key in ("attention_bias", "mlp_bias"))
    if mlp and not attention:
        raise ConfigError(f"{where}: mlp_bias without attention_bias is not supported")
    return "all" if mlp else "qkv" if attention else "none"


def _window(values: dict[str, Any], kind: str, num_layers: int, where: object) -> int:
    """The window of all layers, 0 for none; where only some have one, our decoder can't do it."""
    if kind == "llama" or (kind.startswith("qwen") and not _flag(values, "use_sliding_window", where, False)):
        windowed = [False]
        window = 0
    else:
        # Absent, it has transformers' default; null is none.
        window = _whole({"sliding_window": 4096} | values, "sliding_window", where, 0)
        first = _whole(values, "max_window_layers", where, 28) if kind.startswith("qwen") else 0
        windowed = [layer >= first for layer in range(num_layers)]
    if types := values.get("layer_types"):
        if not isinstance(types, list) or not all(isinstance(name, str) for name in types):
            raise DataError(f"{where}: layer_types should be a list of names, found {types!r}")
        windowed = [name == "sliding_attention" for name in types]
        if unknown := set(types) - {"sliding_attention", "full_attention"}:
            raise ConfigError(f"{where}: layer_types names {sorted(unknown)[0]!r}, which is not supported")
    if window and any(windowed) and not all(windowed):
        raise ConfigError(f"{where}: a sliding window in some layers only is not supported: in all of them or none")
    return window if all(windowed) else 0


def _rope(values: dict[str, Any], where: object) -> dict[str, Any]:
    """Base and scaling, as transformers 5 writes them (rope_parameters) or as earlier ones did (rope_scaling)."""
    found = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        raise ConfigError(f"{where}: RoPE parameters that differ between layers are not supported")
    base = _number({"rope_theta": values.get("rope_theta")} | found, "rope_theta", where, 1e4)
    name = str(found.get("rope_type", found.get("type")) or "default")
    kind = "none" if name == "default" else name
    if kind not in _ROPE_KEYS:
        known = ", ".join(["default", *[key for key in _ROPE_KEYS if key != "none"]])
        raise ConfigError(f"{where}: rope_type {name!r} is not supported, only {known}")
    for key, supported in _ROPE_ONLY.items():
        _check_only(found, key, supported, f"{where}: rope_type {name!r}")
    given = {key: value for key, value in found.items() if value is not None}
    filled = {"original_max_position_embeddings": values.get("max_position_embeddings")} | _ROPE_OPTIONAL | given
    scaling: dict[str, Any] = {"kind": kind}
    for field, key in _ROPE_KEYS[kind].items():
        number = _number({key: filled.get(key)}, key, where)
        scaling[field] = int(number) if field == "original_length" else number
    return {"rope_base": base, "rope_scaling": RopeScaling(**scaling)}


def _gpt2_fields(values: dict[str, Any], where: object) -> dict[str, Any]:
    fields: dict[str, Any] = {field: _size(values, key, where) for field, key in _GPT2_SIZES.items()}
    if fields["embed"] % fields["num_heads"]:
        raise DataError(f"{where}: n_embd={fields['embed']} is no multiple of n_head={fields['num_heads']}")
    return fields | {
        "num_kv_heads": fields["num_heads"],
        "head_dim": fields["embed"] // fields["num_heads"],
        "mlp": _whole(values, "n_inner", where, 4 * fields["embed"]),
        "norm_eps": _number(values, "layer_norm_epsilon", where, 1e-5),
        "tie_embeddings": _flag(values, "tie_word_embeddings", where, True),
        "mlp_kind": "gelu",
        "norm": "layer",
        "bias": "all",
        "position": "learned",
    }


def _whole(values: dict[str, Any], key: str, where: object, default: int | None = None) -> int:
    value = default if values.get(key) is None else values[key]
    if value is None:
        raise DataError(f"{where}: lacks {key!r}, a whole number; is it a model's config.json?")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise DataError(f"{where}: {key} should be a whole number, found {_shown(value)}")
    return value


def _size(values: dict[str, Any], key: str, where: object) -> int:
    value = _whole(values, key, where)
    if not 0 < value <= (_MOST_LAYERS if "layer" in key else _MOST):
        raise DataError(f"{where}: {key}={value}: no model has such a size")
    return value


def _shown(value: Any) -> str:
    """`value`, unless it is a number that Python would not write out."""
    return "one of many digits" if isinstance(value, int) and abs(value) > 1 << 64 else repr(value)


def _number(values: dict[str, Any], key: str, where: object, default: float | None = None) -> float:
    value = default if values.get(key) is None else values[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _MOST:
        raise DataError(f"{where}: {key} should be a number, found {_shown(value)}")
    return float(value)


def _flag(values: dict[str, Any], key: str, where: object, default: bool) -> bool:
    value = default if values.get(key) is None else values[key]
    if not isinstance(value, bool):
        raise DataError(f"{where}: {key} should be true or false, found {value!r}")
    return value


def model_type_of(config: ModelConfig, qwens_tokenizer: bool = True) -> str:
    """The family of `transformers` that computes what this decoder does.

    Args:
      qwens_tokenizer: whether the tokenizer in the folder splits texts as Qwen's does. `transformers` 5 reads that of
        any qwen2 folder so, whatever it says; a model with another one goes out as a llama whose output bias is zero.

    Raises:
      ConfigError: none does; the message names what stands in the way.
    """
    rotary = {"position": "rope", "norm": "rms", "mlp_kind": "swiglu"}
    if config.position == "learned":
        wanted = {"norm": "layer", "mlp_kind": "gelu", "bias": "all", "qk_norm": False, "sliding_window": 0}
        sizes = {"num_kv_heads": config.num_heads, "head_dim": config.embed // config.num_heads}
        return _checked(config, "gpt2", wanted | sizes)
    if config.qk_norm:
        return _checked(config, "qwen3", rotary | {"bias": "none"})
    if config.bias == "qkv":
        if qwens_tokenizer:
            return _checked(config, "qwen2", rotary)
        if config.sliding_window:
            raise ConfigError(
                "config.model.bias='qkv' with a sliding window is a qwen2 to transformers, which would read the "
                "run's tokenizer as Qwen's and encode texts otherwise than the run does; others can have such a model "
                "with Qwen's tokenizer, or without a window"
            )
    if config.sliding_window:
        return _checked(config, "mistral", rotary | {"bias": "none"})
    return _checked(config, "llama", rotary)


def _checked(config: ModelConfig, kind: str, wanted: dict[str, Any]) -> str:
    for field, value in wanted.items():
        if (found := getattr(config, field)) != value:
            raise ConfigError(
                f"config.model.{field}={found!r}: transformers has no such model; the nearest, {kind}, has {value!r}"
            )
    return kind


def config_to_hf(
    config: ModelConfig, max_length: int, dtype: str, tokens: dict[str, int], qwens_tokenizer: bool = True
) -> dict[str, Any]:
    """The values of a config.json that transformers, vLLM and `config_from_hf` read.

    Args:
      max_length: the longest context, tokens.
      dtype: of the weights.
      tokens: ids by key, bos_token_id and the like.
      qwens_tokenizer: see `model_type_of`.

    Raises:
      ConfigError: transformers has no such model.
    """
    kind = model_type_of(config, qwens_tokenizer)
    values: dict[str, Any] = {
        "architectures": [MODEL_TYPES[kind][0]],
        "model_type": kind,
        "torch_dtype": dtype,
        "tie_word_embeddings": config.tie_embeddings,
        "initializer_range": config.init_std,
        **tokens,
    }
    if kind == "gpt2":
        values |= {key: getattr(config, field) for field, key in _GPT2_SIZES.items()}
        dropout = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0)
        rest = {"n_inner": config.mlp, "layer_norm_epsilon": config.norm_eps, "activation_function": "gelu_new"}
        return values | rest | dropout
    values |= {key: getattr(config, field) for field, key in _SIZES.items()}
    values |= {
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "max_position_embeddings": max_length,
        **_rope_to_hf(config),
    }
    if kind == "llama":
        values |= {"attention_bias": config.bias != "none", "mlp_bias": config.bias == "all"}
    if kind == "mistral":
        values["sliding_window"] = config.sliding_window
    if kind in ("qwen2", "qwen3"):
        window = config.sliding_window or None
        values |= {"use_sliding_window": window is not None, "sliding_window": window, "max_window_layers": 0}
    return values


def _rope_to_hf(config: ModelConfig) -> dict[str, Any]:
    scaling, base = config.rope_scaling, config.rope_base
    if scaling.kind == "ntk":  # a larger base and nothing else
        base *= scaling.factor ** (config.head_dim / max(config.head_dim - 2, 1))
    if scaling.kind in ("none", "ntk"):
        return {"rope_theta": base, "rope_scaling": None}
    keys = {key: getattr(scaling, field) for field, key in _ROPE_KEYS[scaling.kind].items()}
    return {"rope_theta": base, "rope_scaling": {"rope_type": scaling.kind, **keys}}
