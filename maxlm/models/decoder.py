"""The decoder: embedding, layers, norm, output matrix. Parameters are always stacked over layers, however it runs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from maxlm.errors import ConfigError
from maxlm.models import rope
from maxlm.models.cache import KVCache
from maxlm.models.config import ModelConfig
from maxlm.models.function import ModuleFunction, stacked
from maxlm.models.layers import Block, Places, weight
from maxlm.models.norms import NORMS
from maxlm.models.remat import checkpointed
from maxlm.parallel.axes import STAGE, constrain, ways
from maxlm.parallel.pipeline import pipeline


class Decoder(nnx.Module):
    """A decoder of the families in maxlm/models/families.py; Llama's by default (Touvron et al., 2023, 2302.13971)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embedding = weight(rngs, (config.vocab_size, config.embed), ("vocab", "embed"), config.init_std)
        table = (config.max_positions, config.embed)
        learned = config.position == "learned"
        self.position = weight(rngs, table, ("positions", "embed"), config.init_std) if learned else None
        self.layers = stacked(lambda rngs: Block(config, rngs=rngs), config.num_layers, rngs)
        self.norm = NORMS[config.norm](config.embed, config.norm_eps)
        shape, axes = (config.vocab_size, config.embed), ("vocab", "embed")
        self.output = None if config.tie_embeddings else weight(rngs, shape, axes, config.init_std)

    def __call__(
        self,
        tokens_BT: jax.Array,
        positions_BT: jax.Array,
        segments_BT: jax.Array,
        cache: KVCache | None = None,
    ) -> tuple[jax.Array, KVCache | None]:
        """Hidden states after the last norm, `[batch, seq_len, embed]`, and the cache with these tokens in it."""
        # Gathered over fsdp before the lookup; else the compiler would replicate the activations to reshard them.
        table_VD = constrain(self.embedding[...].astype(self.config.dtype), "vocab", "act_embed")
        x_BTD = constrain(table_VD[tokens_BT], "batch", "residual_seq", "act_embed")
        length = tokens_BT.shape[1] if cache is None else cache[0].keys.shape[2]
        x_BTD, angles = self._placed(x_BTD, positions_BT, length)
        places = Places(positions_BT, segments_BT, angles)
        if cache is None:
            x_BTD = self._run_layers(x_BTD, places)
        else:
            x_BTD, cache = self._run_cached(x_BTD, places, cache)
        hidden_BTD = constrain(self.norm(x_BTD), "batch", "seq", "act_embed")
        if self.config.width_multiplier != 1:  # muP: logits of a wider model would grow with its width (table 8)
            hidden_BTD = hidden_BTD / self.config.width_multiplier
        return hidden_BTD, cache

    def unembedding(self) -> jax.Array:
        """The matrix that turns hidden states into logits, float32 `[vocab, embed]`."""
        return (self.embedding if self.output is None else self.output)[...]

    def logits(self, hidden_BTD: jax.Array) -> jax.Array:
        """Logits in float32, `[batch, seq_len, vocab]`. Training does without them: train/losses.py."""
        table_VD = self.unembedding().astype(hidden_BTD.dtype)
        return jnp.einsum("btd,vd->btv", hidden_BTD, table_VD, preferred_element_type=jnp.float32)

    def _placed(
        self, x_BTD: jax.Array, positions_BT: jax.Array, length: int
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array] | None]:
        """The embeddings with learned positions added, or as they are with the angles of rotary ones."""
        config = self.config
        if self.position is None:
            angles = rope.angles(positions_BT, length, config.head_dim, config.rope_base, config.rope_scaling)
            return x_BTD, angles
        if length > config.max_positions:  # a lookup past the table would take its last row
            raise ConfigError(
                f"config.model.max_positions={config.max_positions}: the model knows no positions for {length} tokens"
            )
        table_PD = constrain(self.position[...].astype(x_BTD.dtype), "positions", "act_embed")
        return constrain(x_BTD + table_PD[positions_BT], "batch", "residual_seq", "act_embed"), None

    def _run_layers(self, x_BTD: jax.Array, places: Places) -> jax.Array:
        config = self.config
        graph, params = nnx.split(self.layers)

        def run(x_BTD: jax.Array, params: Any, places: Places) -> jax.Array:
            """Some of the layers in turn, given their stacked parameters."""

            def layer(x_BTD: jax.Array, params: Any) -> tuple[jax.Array, None]:
                return nnx.merge(graph, params)(x_BTD, places, None)[0], None

            loop = jax.lax.scan if config.scan_layers else _unrolled
            return loop(checkpointed(layer, config.remat), x_BTD, params)[0]

        if ways(STAGE) == 1:
            return run(x_BTD, params, places)
        return pipeline(run, params, x_BTD, places, config.pipeline_microbatches, config.pipeline_repeats)

    def _run_cached(self, x_BTD: jax.Array, places: Places, cache: KVCache) -> tuple[jax.Array, KVCache]:
        graph, params = nnx.split(self.layers)
        written = []
        for i, layer_cache in enumerate(cache):
            x_BTD, layer_cache = nnx.merge(graph, _of_layer(params, i))(x_BTD, places, layer_cache)
            written.append(layer_cache)
        return x_BTD, tuple(written)


def _unrolled(layer: Callable, x: jax.Array, stacked: Any) -> tuple[jax.Array, None]:
    """What `lax.scan` does, written out."""
    for i in range(jax.tree.leaves(stacked)[0].shape[0]):
        x, _ = layer(x, _of_layer(stacked, i))
    return x, None


def _of_layer(params: Any, i: int) -> Any:
    """A layer's parameters, of stacked ones or of those that `DecoderFunction.for_generation` has set apart."""
    return jax.tree.map(lambda leaf: leaf[i], params, is_leaf=lambda leaf: isinstance(leaf, tuple))


class DecoderFunction(ModuleFunction[Decoder]):
    """A decoder as pure functions of its parameters, a nested dict of arrays."""

    def __init__(self, config: ModelConfig):
        self.config = config
        super().__init__(lambda rngs: Decoder(config, rngs=rngs))

    def for_generation(self, params: dict[str, Any]) -> dict[str, Any]:
        """The same parameters, to be bound for many small steps: matrices in the dtype in which they are multiplied,
        and those of layers as tuples of one array a layer, where a step would copy each out of a stack.
        """
        layers_as_they_are = self.config.matmul != "plain"  # fp8 scales what float32 says

        def apart(axes: tuple[str, ...], leaf: jax.Array) -> jax.Array | tuple[jax.Array, ...]:
            in_layers = axes[0] == "layers"
            if axes[-1] != "norm" and not (in_layers and layers_as_they_are):
                leaf = leaf.astype(self.config.dtype)
            return tuple(leaf) if in_layers else leaf

        return jax.tree.map(apart, self.param_axes(), params, is_leaf=lambda leaf: isinstance(leaf, tuple))
