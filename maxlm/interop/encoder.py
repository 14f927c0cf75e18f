"""Encoders in and out of folders as `transformers` saves them: config.json and safetensors. Pickles are refused."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from maxlm.errors import DataError, naming_full_disk
from maxlm.interop import encoder_names as names
from maxlm.interop.tensors import Tensors, package
from maxlm.models.encoder import EncoderFunction
from maxlm.models.encoder_config import Dtype, EncoderConfig
from maxlm.paths import PathLike, as_path, read_json, write_atomic, write_json

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class LoadedEncoder(NamedTuple):
    """An encoder read from a folder."""

    config: EncoderConfig
    params: dict[str, Any]  # float32 NumPy arrays, in the tree of EncoderFunction
    labels: tuple[str, ...]  # of the head's outputs; () without a head
    model_type: str  # as transformers calls the family
    regression: bool
    fresh: tuple[str, ...]  # modules that the folder does not hold and that start at random: "pooler", "head"


def load_encoder(
    folder: PathLike, labels: Sequence[str] | None = None, dtype: Dtype = "float32", seed: int = 0
) -> LoadedEncoder:
    """Reads an encoder of the families in `encoder_names`, whole or in shards, with or without a prefix.

    Args:
      folder: holds config.json and model.safetensors, or model.safetensors.index.json and its shards.
      labels: outputs of the head. None: the head as it stands in the folder, if any. Else a head for these labels:
        the folder's where it has the same ones, else a fresh one.
      dtype: of the computation; parameters are always float32.
      seed: of what is fresh.

    Raises:
      ConfigError: a kind of model that this encoder isn't.
      DataError: a file or tensor is missing, damaged, of another shape or unknown; or there are only pickles.
    """
    folder = as_path(folder)
    values = read_json(folder / CONFIG_FILE, "description of a model")
    config = names.config_from_hf(values, folder / CONFIG_FILE)
    found_labels = names.labels_from_hf(values, folder / CONFIG_FILE)
    tensors = Tensors(folder)
    prefix = f"{names.MODEL_TYPES[values['model_type']][1]}."
    if not any(name.startswith(prefix) for name in tensors.names):
        prefix = ""
    wanted = found_labels if labels is None else tuple(labels)
    config = _with_options(config, tensors, prefix, len(wanted), dtype)
    fresh = _fresh_modules(config, tensors, prefix, wanted if wanted != found_labels else ())
    params = _read(config, tensors, prefix, fresh)
    if fresh:
        params |= jax.tree.map(np.asarray, _init(config, fresh, seed))
    regression = values.get("problem_type") == "regression" or (len(found_labels) == 1 and labels is None)
    return LoadedEncoder(config, params, wanted, values["model_type"], regression, fresh)


def _with_options(config: EncoderConfig, tensors: Tensors, prefix: str, labels: int, dtype: Dtype) -> EncoderConfig:
    config = replace(config, dtype=dtype)
    if labels:
        return replace(config, pooler=True, num_labels=labels)
    pooler = replace(config, pooler=True)
    has_pooler = names.tensor_name(pooler, ("pooler", "kernel"), prefix) in tensors.names
    return pooler if has_pooler and config.family in ("bert", "roberta") else config


def _fresh_modules(
    config: EncoderConfig, tensors: Tensors, prefix: str, new_labels: tuple[str, ...]
) -> tuple[str, ...]:
    """What a head for other labels than the folder's lacks: itself, and the pooler where there is none."""
    if not new_labels:
        return ()
    has_pooler = names.tensor_name(config, ("pooler", "kernel"), prefix) in tensors.names
    return ("head",) if has_pooler else ("pooler", "head")


def _init(config: EncoderConfig, modules: tuple[str, ...], seed: int) -> dict[str, Any]:
    def some(key: jax.Array) -> dict[str, Any]:
        params = EncoderFunction(config).init(key)
        return {module: params[module] for module in modules}

    return jax.jit(some)(jax.random.key(seed))  # the rest is never made


def _read(config: EncoderConfig, tensors: Tensors, prefix: str, fresh: tuple[str, ...]) -> dict[str, Any]:
    """The parameters but those in `fresh`, each tensor checked against the shape that the config gives it."""
    used: set[str] = set()

    def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
        used.add(name)
        return tensors.read(name, shape)

    params: dict[str, Any] = {}
    for path, leaf in _flat(EncoderFunction(config).abstract_params()):
        if path[0] in fresh:
            continue
        name, shape = names.tensor_name(config, path, prefix), leaf.shape
        stacked = "{}" in name
        inner = shape[1:] if stacked else shape
        stored = inner[::-1] if names.is_transposed(path) else inner
        if stacked:
            value = np.empty(shape, np.float32)
            for i in range(shape[0]):
                read = tensor(name.format(i), stored)
                value[i] = read.T if names.is_transposed(path) else read
        else:
            value = tensor(name, stored)
            value = np.ascontiguousarray(value.T) if names.is_transposed(path) else value
        _put(params, path, value)
    unknown = sorted(name for name in tensors.names - used if not names.may_be_left(name))
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise DataError(
            f"{tensors.folder}: tensor {unknown[0]!r}{more} has no place in a {config.family} encoder of "
            f"{config.num_layers} layers; does {CONFIG_FILE} belong to these weights?"
        )
    return params


def save_encoder(folder: PathLike, encoder: LoadedEncoder) -> None:
    """Writes config.json and model.safetensors (float32) that transformers and `load_encoder` read.

    Raises:
      DiskFullError: no space left.
    """
    save = package().numpy.save
    folder, config = as_path(folder), encoder.config
    prefix = f"{names.MODEL_TYPES[encoder.model_type][1]}." if config.num_labels else ""
    tensors = {}
    for path, leaf in _flat(encoder.params):
        name, value = names.tensor_name(config, path, prefix), np.asarray(leaf, np.float32)
        layers = enumerate(value) if "{}" in name else [(0, value)]
        for i, part in layers:
            tensors[name.format(i)] = np.ascontiguousarray(part.T if names.is_transposed(path) else part)
    folder.mkdir(parents=True, exist_ok=True)
    with naming_full_disk("a model", folder):
        write_atomic(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
        write_json(
            folder / CONFIG_FILE, names.config_to_hf(config, encoder.model_type, encoder.labels, encoder.regression)
        )


def _flat(params: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """(path, leaf) of every leaf of nested dicts."""
    found = []
    for key, value in params.items():
        found += _flat(value, (*above, key)) if isinstance(value, dict) else [((*above, key), value)]
    return found


def _put(params: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        params = params.setdefault(key, {})
    params[path[-1]] = value
