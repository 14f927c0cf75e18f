"""A fine-tuned encoder on a mesh, run over texts. With finetune.py, the only code here that imports jax.

Letters: B rows of a batch, S places of a row, C outputs (classes, or 1 for a regression), T texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh

from data_pipeline.score import buckets
from data_pipeline.score.encoder_settings import MeshSizes
from maxlm.errors import ConfigError, DataError
from maxlm.interop.encoder import LoadedEncoder, load_encoder
from maxlm.models.encoder import EncoderFunction
from maxlm.models.encoder_config import Dtype
from maxlm.parallel.axes import BATCH_AXES
from maxlm.parallel.mesh import MeshConfig, make_mesh, replicated, rows_sharding
from maxlm.parallel.sharding import param_shardings
from maxlm.paths import PathLike
from maxlm.tokenizer.wordpiece import EncoderTokenizer

# No token of a usual vocabulary stands for more characters on average: what is cut off is never looked at.
_CHARS_PER_TOKEN = 16
_TOKENISE = 2048  # texts at a time


class Classifier:
    """An encoder with a head, its tokenizer, and devices to run it on."""

    def __init__(
        self,
        encoder: LoadedEncoder,
        tokenizer: EncoderTokenizer,
        mesh: Mesh,
        max_tokens: int,
        windows: int,
        batch_tokens: int = 16_384,
    ):
        """Puts the parameters on the devices.

        Raises:
          ConfigError: sizes that the mesh does not divide.
          DataError: the tokenizer has more tokens than the encoder.
        """
        if tokenizer.vocab_size > encoder.config.vocab_size:
            raise DataError(
                f"the tokenizer has {tokenizer.vocab_size} tokens, the encoder {encoder.config.vocab_size}: "
                "they don't belong together"
            )
        self.encoder, self.tokenizer, self.mesh = encoder, tokenizer, mesh
        self.max_tokens, self.windows = min(max_tokens, encoder.config.max_tokens), windows
        self.function = EncoderFunction(encoder.config)
        self.splits = _fitting_shardings(self.function, mesh)
        self.params = jax.device_put(encoder.params, self.splits)
        self._ways = ways(mesh)
        self._batch_tokens = batch_tokens * self._ways
        batch = rows_sharding(mesh)
        self._logits, self._pooled = (
            jax.jit(partial(f, self.function), in_shardings=(self.splits, batch, batch), out_shardings=replicated(mesh))
            for f in (_logits, _pooled)
        )

    def outputs(self, texts: Sequence[str]) -> np.ndarray:
        """The head's outputs averaged over each text's windows, float64 `[texts, outputs]`."""
        sequences, owners = self.sequences(texts)
        return self.outputs_of(sequences, owners, len(texts))

    def sequences(self, texts: Sequence[str]) -> tuple[list[list[int]], np.ndarray]:
        """The windows of all texts as token ids, and the text that each belongs to."""
        around = (self.tokenizer.first_id, self.tokenizer.last_id)
        most = self.max_tokens * self.windows * _CHARS_PER_TOKEN
        sequences: list[list[int]] = []
        counts = []
        for start in range(0, len(texts), _TOKENISE):
            for ids in self.tokenizer.encode_batch([text[:most] for text in texts[start : start + _TOKENISE]]):
                found = buckets.windows(ids, self.max_tokens, self.windows, around)
                sequences += found
                counts.append(len(found))
        return sequences, np.repeat(np.arange(len(counts)), counts)

    def outputs_of(self, sequences: Sequence[Sequence[int]], owners: np.ndarray, num_texts: int) -> np.ndarray:
        """As `outputs`, of what `sequences` gave."""
        sums_TC = np.zeros((num_texts, self.encoder.config.num_labels))
        if not num_texts:
            return sums_TC
        np.add.at(sums_TC, owners, self._run(self._logits, sequences).astype(np.float64))
        return sums_TC / np.bincount(owners, minlength=num_texts)[:, None]

    def pooled_of(self, sequences: Sequence[Sequence[int]]) -> np.ndarray:
        """What the head sees of each of the `sequences`, float32 `[sequences, embed]`."""
        return self._run(self._pooled, sequences)

    def _run(self, function: Callable[..., jax.Array], sequences: Sequence[Sequence[int]]) -> np.ndarray:
        pad_id, made = self.encoder.config.pad_id, []
        with jax.set_mesh(self.mesh):
            for batch in buckets.batches(sequences, self.max_tokens, self._batch_tokens, self._ways, pad_id):
                # Not waited for: the host pads the next batch while the devices work on this one.
                made.append((batch.rows, function(self.params, batch.tokens_BS, batch.mask_BS)))
        rows = np.concatenate([rows for rows, _ in made])
        return np.concatenate([np.asarray(out, np.float32)[: len(some)] for some, out in made])[np.argsort(rows)]


def _logits(function: EncoderFunction, params: Any, tokens_BS: jax.Array, mask_BS: jax.Array) -> jax.Array:
    encoder = function.bind(params)
    return encoder.logits(encoder(tokens_BS, mask_BS))


def _pooled(function: EncoderFunction, params: Any, tokens_BS: jax.Array, mask_BS: jax.Array) -> jax.Array:
    encoder = function.bind(params)
    return encoder.pooled(encoder(tokens_BS, mask_BS))


def ways(mesh: Mesh) -> int:
    """How many devices share a batch."""
    return int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))


def mesh_of(sizes: MeshSizes) -> Mesh:
    return make_mesh(MeshConfig(**asdict(sizes)))


def _fitting_shardings(function: EncoderFunction, mesh: Mesh) -> Any:
    """Shardings of the parameters; a ConfigError names the first that the mesh does not divide."""
    splits = param_shardings(mesh, function.param_axes())
    shapes = jax.tree_util.tree_leaves_with_path(function.abstract_params())
    for (path, leaf), split in zip(shapes, jax.tree.leaves(splits), strict=True):
        for size, axis in zip(leaf.shape, split.spec, strict=False):
            axes = (axis,) if isinstance(axis, str) else axis or ()
            split_ways = int(np.prod([mesh.shape[name] for name in axes], initial=1))
            if size % split_ways:
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise ConfigError(
                    f"encoder: {name} of shape {list(leaf.shape)} does not divide by the mesh's "
                    f"{' × '.join(axes)}={split_ways}; use mesh.data=-1 with fsdp=1 and tensor=1"
                )
    return splits


def load(path: PathLike, mesh: MeshSizes, dtype: str, batch_tokens: int, max_tokens: int, windows: int) -> Classifier:
    """The classifier in a folder; raises as EncoderScorer.load says."""
    encoder = load_encoder(path, dtype=cast(Dtype, dtype))
    if not encoder.labels:
        raise DataError(f"{path}: an encoder without a head: train one from it (start={path})")
    return Classifier(encoder, EncoderTokenizer.load(path), mesh_of(mesh), max_tokens, windows, batch_tokens)
