"""A bidirectional encoder of the BERT family, and a head on its first token.

Letters as in layers.py, and E width of the embedding tables, C classes.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from maxlm.models.encoder_config import EncoderConfig
from maxlm.models.function import ModuleFunction, stacked
from maxlm.models.kernels import masked_attention
from maxlm.models.layers import weight
from maxlm.models.linear import linear
from maxlm.models.norms import LayerNorm
from maxlm.parallel.axes import constrain

_ACTIVATIONS = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


class Dense(nnx.Module):
    """A matrix and a bias, on `[batch, seq_len, in]`. `axes` name the matrix's dimensions."""

    def __init__(self, rngs: nnx.Rngs, shape: tuple[int, int], axes: tuple[str, str], std: float):
        # What writes to the residual stream or a head has a bias that no device splits.
        self.kernel = weight(rngs, shape, axes, std)
        self.bias = nnx.Param(jnp.zeros(shape[1]), axes=("norm" if axes[1] == "embed" else axes[1],))

    def __call__(self, x_BTI: jax.Array) -> jax.Array:
        return linear(x_BTI, self.kernel[...]) + self.bias[...].astype(x_BTI.dtype)


class Embeddings(nnx.Module):
    """Token, position and type, summed and normed."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        E, std = config.table_width, config.init_std
        self.config = config
        self.token = weight(rngs, (config.vocab_size, E), ("vocab", "embed"), std)
        self.position = weight(rngs, (config.max_positions, E), ("positions", "embed"), std)
        self.type = weight(rngs, (config.num_types, E), ("types", "embed"), std) if config.num_types else None
        self.norm = LayerNorm(E, config.norm_eps)
        self.widen = None if E == config.embed else Dense(rngs, (E, config.embed), ("norm", "embed"), std)

    def __call__(self, tokens_BT: jax.Array, types_BT: jax.Array | None, key: jax.Array | None) -> jax.Array:
        x_BTE = _rows(self.token, tokens_BT) + _rows(self.position, self._positions(tokens_BT))
        if self.type is not None:
            x_BTE += _rows(self.type, jnp.zeros_like(tokens_BT) if types_BT is None else types_BT)
        x_BTE = self.norm(x_BTE).astype(self.config.dtype)
        x_BTE = dropout(x_BTE, self.config.dropout, key)
        return x_BTE if self.widen is None else self.widen(x_BTE)

    def _positions(self, tokens_BT: jax.Array) -> jax.Array:
        """RoBERTa counts tokens that are no padding, from pad_id + 1 on; the others count places from 0."""
        if self.config.family != "roberta":
            return jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
        real_BT = (tokens_BT != self.config.pad_id).astype(jnp.int32)
        return jnp.cumsum(real_BT, axis=1) * real_BT + self.config.pad_id


def _rows(table: nnx.Param, ids_BT: jax.Array) -> jax.Array:
    """Rows of an embedding table. Gathered over fsdp before the lookup, as in decoder.py."""
    first = "vocab" if "vocab" in table.get_metadata("axes") else "seq"
    return constrain(table[...], first, "act_embed")[ids_BT]


class SelfAttention(nnx.Module):
    """Every token attends to every token that is no padding."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        D, std = config.embed, config.init_std
        self.config = config
        self.query = Dense(rngs, (D, D), ("embed", "heads"), std)
        self.key = Dense(rngs, (D, D), ("embed", "heads"), std)
        self.value = Dense(rngs, (D, D), ("embed", "heads"), std)
        self.out = Dense(rngs, (D, D), ("heads", "embed"), std)

    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        q_BTNH, k_BTNH, v_BTNH = (self._heads(part(x_BTD)) for part in (self.query, self.key, self.value))
        out_BTNH = masked_attention(q_BTNH, k_BTNH, v_BTNH, mask_BT[:, None, :])
        return self.out(out_BTNH.reshape(x_BTD.shape))

    def _heads(self, x_BTD: jax.Array) -> jax.Array:
        x_BTNH = x_BTD.reshape(*x_BTD.shape[:2], self.config.num_heads, -1)
        return constrain(x_BTNH, "batch", "seq", "act_heads", "head_dim")


class EncoderBlock(nnx.Module):
    """One layer: attention and a dense layer of width mlp, a norm after each sum."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        D, F, std = config.embed, config.mlp, config.init_std
        self.config = config
        self.attention = SelfAttention(config, rngs=rngs)
        self.attention_norm = LayerNorm(D, config.norm_eps)
        self.up = Dense(rngs, (D, F), ("embed", "mlp"), std)
        self.down = Dense(rngs, (F, D), ("mlp", "embed"), std)
        self.mlp_norm = LayerNorm(D, config.norm_eps)

    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, key: jax.Array | None) -> jax.Array:
        rate, keys = self.config.dropout, (None, None) if key is None else jax.random.split(key)
        attended_BTD = dropout(self.attention(x_BTD, mask_BT), rate, keys[0])
        x_BTD = constrain(self.attention_norm(x_BTD + attended_BTD), "batch", "seq", "act_embed")
        hidden_BTF = _ACTIVATIONS[self.config.activation](self.up(x_BTD))
        hidden_BTD = dropout(self.down(constrain(hidden_BTF, "batch", "seq", "act_mlp")), rate, keys[1])
        return constrain(self.mlp_norm(x_BTD + hidden_BTD), "batch", "seq", "act_embed")


class Encoder(nnx.Module):
    """Embeddings, layers, and by choice a pooler and a head."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        D, std = config.embed, config.init_std
        self.config = config
        self.embeddings = Embeddings(config, rngs=rngs)
        self.layers = stacked(lambda rngs: EncoderBlock(config, rngs=rngs), config.num_layers, rngs)
        self.pooler = Dense(rngs, (D, D), ("embed", "heads"), std) if config.pooler else None
        self.head = Dense(rngs, (D, config.num_labels), ("embed", "labels"), std) if config.num_labels else None

    def __call__(
        self,
        tokens_BT: jax.Array,
        mask_BT: jax.Array,
        types_BT: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Hidden states after the last layer, `[batch, seq_len, embed]`; those of padding mean nothing.

        Args:
          tokens_BT: ids, int32 `[batch, seq_len]`; seq_len is at most `config.max_tokens`.
          mask_BT: which places hold a token, bool `[batch, seq_len]`.
          types_BT: types of the tokens; None: all 0.
          key: of dropout; None: nothing is dropped.
        """
        keys = None if key is None else jax.random.split(key, self.config.num_layers + 1)
        x_BTD = self.embeddings(tokens_BT, types_BT, None if keys is None else keys[-1])
        x_BTD = constrain(x_BTD, "batch", "seq", "act_embed")
        graph, params = nnx.split(self.layers)

        def layer(x_BTD, state):
            params, key = state
            return nnx.merge(graph, params)(x_BTD, mask_BT, key), None

        return jax.lax.scan(layer, x_BTD, (params, None if keys is None else keys[:-1]))[0]

    def pooled(self, hidden_BTD: jax.Array) -> jax.Array:
        """The first token's state through the pooler, `[batch, embed]`."""
        assert self.pooler is not None, "config.pooler is off"
        return _ACTIVATIONS[self.config.pooler_activation](self.pooler(hidden_BTD[:, :1]))[:, 0]

    def logits(self, hidden_BTD: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The head's outputs, float32 `[batch, num_labels]`: logits of the classes, or the value of a regression."""
        assert self.head is not None, "config.num_labels is 0"
        pooled_BD = dropout(self.pooled(hidden_BTD), self.config.dropout, key)
        return self.head(pooled_BD[:, None].astype(jnp.float32))[:, 0]


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes a share `rate` of `x` and scales up the rest (Srivastava et al., 2014); without a key, nothing."""
    if key is None or not rate:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0).astype(x.dtype)


class EncoderFunction(ModuleFunction[Encoder]):
    """An encoder as pure functions of its parameters, a nested dict of arrays."""

    def __init__(self, config: EncoderConfig):
        self.config = config
        super().__init__(lambda rngs: Encoder(config, rngs=rngs))
