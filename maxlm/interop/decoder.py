"""Decoders in and out of folders as `transformers` and vLLM load them, a tensor in memory at a time.

Nothing of a folder is run or unpickled: config.json is read as data, weights from safetensors alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from maxlm.errors import ConfigError, DataError, naming_full_disk
from maxlm.interop.decoder_config import config_from_hf, config_to_hf
from maxlm.interop.decoder_names import LLAMA, MODEL_TYPES, Path, is_stacked, stored_shape, to_ours, to_stored
from maxlm.interop.tensor_writer import writing
from maxlm.interop.tensors import Tensors
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.paths import PathLike, as_path, read_json, write_json

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"
_OUT_BIAS: Path = ("layers", "attention", "out_bias")
SHARD_BYTES = 5 * 10**9  # as transformers cuts them

# A parameter's path, and the layer where it is stacked (else None) -> its values, `[…]` of one layer
Read = Callable[[Path, int | None], np.ndarray]


class FolderModel:
    """A decoder in a folder: what it is, and its parameters one at a time.

    Attributes:
      model_type: as transformers calls the family.
      config: of our decoder.
      max_length: the longest context it was made for, tokens.
      shapes: of every parameter, stacked over layers, by path.
    """

    def __init__(self, folder: PathLike):
        """Reads config.json and the headers of the weights, and checks that they belong together.

        Raises:
          ConfigError: a family or an option that our decoder does not have, or safetensors is not installed.
          DataError: a file or tensor is missing, damaged or unknown; or there are only pickles.
        """
        self._folder = as_path(folder)
        where = self._folder / CONFIG_FILE
        described = config_from_hf(read_json(where, "description of a model"), where)
        self.model_type, self.config, self.max_length = described.model_type, described.model, described.max_length
        self.shapes = param_shapes(self.config)
        self._layout = MODEL_TYPES[self.model_type][1]
        self._tensors = Tensors(self._folder)
        used = {self._name(path, layer) for path, layer in pieces(self.shapes)}
        if self.model_type == "llama" and self.config.bias == "qkv":
            used |= self._zero_biases()
        for name in sorted(used):
            self._tensors.require(name)
        self._refuse_unknown(used)

    def _name(self, path: Path, layer: int | None) -> str:
        """The tensor's name as the folder has it, without the prefix where it was saved without."""
        name = self._layout.table[".".join(path)].tensor.format(layer)
        short = name.removeprefix(self._layout.optional_prefix)
        return short if name not in self._tensors.names and short in self._tensors.names else name

    def _zero_biases(self) -> set[str]:
        """The tensors that such a llama has and our decoder has not. Raises ConfigError: one is not zero."""
        names = {self._name(_OUT_BIAS, layer) for layer in range(self.config.num_layers)}
        for name in sorted(names):
            if np.any(self._tensors.read(name, (self.config.embed,))):
                raise ConfigError(
                    f"{self._folder}: {name} is not zero: attention_bias without mlp_bias is not supported; "
                    "biases may be on all products, on none, or on queries, keys and values alone"
                )
        return names

    def _refuse_unknown(self, used: set[str]) -> None:
        tied = {"lm_head.weight"} if self.config.tie_embeddings else set()
        left = self._tensors.names - used - tied
        if unknown := sorted(name for name in left if not self._layout.ignored.match(name)):
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            raise DataError(
                f"{self._folder}: tensor {unknown[0]!r}{more} has no place in a {self.model_type} model of "
                f"{self.config.num_layers} layers as {CONFIG_FILE} describes it; do they belong together?"
            )

    def read(self, path: Path, layer: int | None) -> np.ndarray:
        """A parameter, of one layer where it is stacked, in the type that it is stored in; often a view.

        Raises:
          DataError: missing, of another shape, or quantised.
        """
        shape = self.shapes[path][1:] if is_stacked(path) else self.shapes[path]
        tensor = self._tensors.stored(self._name(path, layer), stored_shape(self._layout, path, shape))
        return to_ours(self._layout, path, shape, tensor)

    def params(self, shardings: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, float32, each device's part read for it alone; `shardings` in the parameters' tree."""

        def load(path: Any, sharding: Any) -> jax.Array:
            keys = tuple(key.key for key in path)
            return jax.make_array_from_callback(
                self.shapes[keys], sharding, lambda index: self._part(keys, index or ())
            )

        return jax.tree_util.tree_map_with_path(load, dict(shardings))

    def _part(self, path: Path, index: tuple[slice, ...]) -> np.ndarray:
        if not is_stacked(path):
            return np.array(self.read(path, None)[index], np.float32, order="C")
        layers = range(*index[0].indices(self.shapes[path][0]))
        first = self.read(path, layers[0])[index[1:]]
        part = np.empty((len(layers), *first.shape), np.float32)
        part[0] = first
        for i, layer in enumerate(layers[1:], start=1):
            part[i] = self.read(path, layer)[index[1:]]
        return part


def param_shapes(config: ModelConfig) -> dict[Path, tuple[int, ...]]:
    """The shape of every parameter, stacked over layers, by path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(DecoderFunction(config).abstract_params())
    return {tuple(key.key for key in path): leaf.shape for path, leaf in leaves}


def pieces(shapes: Mapping[Path, tuple[int, ...]]) -> list[tuple[Path, int | None]]:
    """Every parameter of every layer."""
    return [
        (path, layer) for path, shape in shapes.items() for layer in (range(shape[0]) if is_stacked(path) else (None,))
    ]


def save_decoder(
    folder: PathLike,
    config: ModelConfig,
    read: Read,
    *,
    max_length: int,
    tokens: Mapping[str, int],
    dtype: str = "float32",
    shard_bytes: int = SHARD_BYTES,
    qwens_tokenizer: bool = True,
) -> None:
    """Writes config.json, generation_config.json and safetensors that transformers, vLLM and `FolderModel` read.

    Args:
      read: gives the parameters, each asked for once.
      max_length: the longest context, tokens.
      tokens: ids by key: bos_token_id, eos_token_id, pad_token_id.
      dtype: of the weights: float32, bfloat16 or float16.
      shard_bytes: files hold no more, but for a tensor that is larger.
      qwens_tokenizer: see `model_type_of`.

    Raises:
      ConfigError: transformers has no such model.
      DiskFullError: no space left; nothing is left behind.
    """
    folder = as_path(folder)
    values = config_to_hf(config, max_length, dtype, dict(tokens), qwens_tokenizer)
    layout = MODEL_TYPES[values["model_type"]][1]
    shapes = param_shapes(config)
    tensors: dict[str, list[tuple[Path, int | None]]] = {}
    for path, layer in pieces(shapes):
        stored = layout.table[".".join(path)]
        found = tensors.setdefault(stored.tensor.format(layer), [(path, layer)] * stored.parts)
        found[stored.part] = path, layer

    def shape_of(path: Path) -> tuple[int, ...]:
        return stored_shape(layout, path, shapes[path][1:] if is_stacked(path) else shapes[path])

    folder.mkdir(parents=True, exist_ok=True)
    with naming_full_disk("a model", folder):
        sizes = {name: shape_of(parts[0][0]) for name, parts in tensors.items()}
        zeros = _zero_biases_of(config) if values["model_type"] == "llama" else {}
        sizes |= zeros
        with writing(folder, sizes, dtype, shard_bytes) as writer:
            for name, parts in tensors.items():
                found = [_folded(config, path, read(path, layer)) for path, layer in parts]
                writer.write(name, to_stored(layout, parts[0][0], found))
            for name, shape in zeros.items():
                writer.write(name, np.zeros(shape, np.float32))
        write_json(folder / GENERATION_FILE, {"_from_model_config": True, **tokens})
        write_json(folder / CONFIG_FILE, values)


def _zero_biases_of(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Tensors that a llama with biases of queries, keys and values has besides, by name: zeros of this shape."""
    layers = range(config.num_layers if config.bias == "qkv" else 0)
    return {LLAMA.table[".".join(_OUT_BIAS)].tensor.format(layer): (config.embed,) for layer in layers}


def _folded(config: ModelConfig, path: Path, value: np.ndarray) -> np.ndarray:
    """Factors that others do not know go into the parameters: the last norm takes in what muP divides hidden states by
    before the logits, and what writes to the residual stream the share of it that CompleteP adds."""
    factor = config.width_multiplier if path[0] == "norm" else 1.0
    if any(part in ("out", "out_bias", "down", "down_bias") for part in path):
        factor = config.depth_multiplier
    return value if factor == 1 else value / np.float32(factor)
