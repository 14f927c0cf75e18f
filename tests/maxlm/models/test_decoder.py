"""The decoder against a second one, written here in float64 NumPy, and the properties that training rests on."""

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.models.cache import empty_cache
from maxlm.models.config import ModelConfig, RopeScaling
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import param_shardings
from tests import tiny

LENGTHS = ((5, 4, 3), (8, 2))  # documents of each row; what is left of a row is padding
B, T = len(LENGTHS), 12


def _packed() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, all different, positions and segments of the rows."""
    tokens_BT = np.arange(1, B * T + 1, dtype=np.int32).reshape(B, T)
    positions_BT, segments_BT = np.zeros((2, B, T), np.int32)
    for row, lengths in enumerate(LENGTHS):
        start = 0
        for segment, length in enumerate(lengths, start=1):
            positions_BT[row, start : start + length] = np.arange(length)
            segments_BT[row, start : start + length] = segment
            start += length
    return tokens_BT, positions_BT, segments_BT


TOKENS, POSITIONS, SEGMENTS = _packed()


@functools.cache
def _params(config: ModelConfig) -> dict[str, Any]:
    """Parameters large enough for logits of size 1, and norms that are not all ones."""
    params = DecoderFunction(config).init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([jnp.float32(leaf + 0.2 * rng.normal(size=leaf.shape)) for leaf in leaves])


def _logits(config: ModelConfig, params, tokens_BT, positions_BT, segments_BT) -> jax.Array:
    decoder = DecoderFunction(config).bind(params)
    return decoder.logits(decoder(tokens_BT, positions_BT, segments_BT)[0])


_logits = jax.jit(_logits, static_argnums=0)


def _norm(x: np.ndarray, p: dict[str, Any], eps: float) -> np.ndarray:
    """RMSNorm, or LayerNorm where there is a bias."""
    if "bias" in p:
        x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * p["scale"] + p.get("bias", 0.0)


def _turn(x_TNH: np.ndarray, positions_T: np.ndarray, config: ModelConfig) -> np.ndarray:
    half = x_TNH.shape[-1] // 2
    turns_F = config.rope_base ** (-np.arange(half) / half)
    if config.rope_scaling.kind == "linear":
        turns_F /= config.rope_scaling.factor
    pairs = (x_TNH[..., :half] + 1j * x_TNH[..., half:]) * np.exp(1j * positions_T[:, None] * turns_F)[:, None]
    return np.concatenate([pairs.real, pairs.imag], axis=-1)


def _attend(q_TNH, k_SKH, v_SKH, segments_T, window: int) -> np.ndarray:
    N, H = q_TNH.shape[1:]
    seen_TS = np.tril(segments_T[:, None] == segments_T[None, :])
    if window:
        seen_TS = np.triu(seen_TS, 1 - window)
    out_TNH = np.zeros_like(q_TNH)
    for n in range(N):
        head = n * k_SKH.shape[1] // N
        scores_TS = np.where(seen_TS, q_TNH[:, n] @ k_SKH[:, head].T / np.sqrt(H), -np.inf)
        weights_TS = np.exp(scores_TS - scores_TS.max(axis=1, keepdims=True))
        out_TNH[:, n] = weights_TS / weights_TS.sum(axis=1, keepdims=True) @ v_SKH[:, head]
    return out_TNH


def _row_logits(config: ModelConfig, p: dict[str, Any], tokens_T, positions_T, segments_T) -> np.ndarray:
    """One row through a decoder, float64."""
    x_TD = p["embedding"][tokens_T]
    if config.position == "learned":
        x_TD = x_TD + p["position"][positions_T]
    for i in range(config.num_layers):
        layer = jax.tree.map(lambda leaf, i=i: leaf[i], p["layers"])
        a = layer["attention"]
        h_TD = _norm(x_TD, layer["attention_norm"], config.norm_eps)
        q, k, v = (np.tensordot(h_TD, a[n], 1) + a.get(f"{n}_bias", 0.0) for n in ("query", "key", "value"))
        if config.qk_norm:
            q, k = (_norm(x, a[n], config.norm_eps) for x, n in ((q, "query_norm"), (k, "key_norm")))
        if config.position == "rope":
            q, k = (_turn(x, positions_T, config) for x in (q, k))
        attended_TNH = _attend(q, k, v, segments_T, config.sliding_window)
        x_TD = x_TD + np.tensordot(attended_TNH, a["out"], 2) + a.get("out_bias", 0.0)
        x_TD = x_TD + _mlp(config, layer["mlp"], _norm(x_TD, layer["mlp_norm"], config.norm_eps))
    table_VD = p["embedding"] if config.tie_embeddings else p["output"]
    return _norm(x_TD, p["norm"], config.norm_eps) @ table_VD.T


def _mlp(config: ModelConfig, p: dict[str, Any], h_TD: np.ndarray) -> np.ndarray:
    up_TF = h_TD @ p["up"] + p.get("up_bias", 0.0)
    if config.mlp_kind == "swiglu":
        gate_TF = h_TD @ p["gate"] + p.get("gate_bias", 0.0)
        hidden_TF = gate_TF / (1 + np.exp(-gate_TF)) * up_TF
    else:
        hidden_TF = up_TF / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (up_TF + 0.044715 * up_TF**3)))
    return hidden_TF @ p["down"] + p.get("down_bias", 0.0)


GPT2 = {"mlp_kind": "gelu", "norm": "layer", "bias": "all", "position": "learned", "max_positions": T}
STRETCHED = RopeScaling("linear", factor=4.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_embeddings": False, "num_kv_heads": 4, "rope_base": 500.0},
        {"num_kv_heads": 1, "num_layers": 3},
        GPT2,
        {"bias": "qkv", "tie_embeddings": False, "rope_scaling": STRETCHED},
        {"bias": "all", "qk_norm": True, "sliding_window": 3},
    ],
    ids=[
        "tied, grouped",
        "untied, own kv heads",
        "one kv head",
        "GPT-2",
        "Qwen2.5, stretched",
        "Qwen3, window, biases",
    ],
)
def test_equals_numpy(changes):
    config = tiny.model(**changes)
    params = _params(config)
    wide = jax.tree.map(np.float64, params)
    found_BTV = np.asarray(_logits(config, params, TOKENS, POSITIONS, SEGMENTS))
    assert found_BTV.dtype == np.float32
    for row in range(B):
        expected_TV = _row_logits(config, wide, TOKENS[row], POSITIONS[row], SEGMENTS[row])
        np.testing.assert_allclose(found_BTV[row], expected_TV, atol=1e-5)
        assert expected_TV.std() > 0.5


def test_gradients_reach_back_within_a_document_only():
    """Causality: a position's output depends on its own token and on those before it in its document, on no other."""
    config = tiny.model(tie_embeddings=False)
    model, params = DecoderFunction(config), _params(config)
    direction_D = jnp.asarray(np.random.default_rng(3).normal(size=config.embed), jnp.float32)

    def outputs(embedding_VD):
        hidden_BTD, _ = model.bind({**params, "embedding": embedding_VD})(TOKENS, POSITIONS, SEGMENTS)
        return hidden_BTD @ direction_D

    gradient_BTVD = jax.jit(jax.jacrev(outputs))(params["embedding"])
    reached_BTBS = np.asarray(jnp.abs(gradient_BTVD).max(axis=-1))[:, :, TOKENS] > 0  # every token occurs once
    expected_BTBS = np.zeros((B, T, B, T), bool)
    for b in range(B):
        expected_BTBS[b, :, b, :] = np.tril(SEGMENTS[b, :, None] == SEGMENTS[b, None, :])
    np.testing.assert_array_equal(reached_BTBS, expected_BTBS)


def test_packed_row_equals_its_documents_alone():
    config = tiny.model()
    params = _params(config)
    packed_BTV = np.asarray(_logits(config, params, TOKENS, POSITIONS, SEGMENTS))
    for row, lengths in enumerate(LENGTHS):
        start = 0
        for length in lengths:
            alone = np.zeros((3, B, T), np.int32)  # the shape of before: compiled already
            alone[0, 0, :length] = TOKENS[row, start : start + length]
            alone[1, 0, :length] = np.arange(length)
            alone[2, 0, :length] = 1
            alone_TV = np.asarray(_logits(config, params, *alone))[0, :length]
            np.testing.assert_allclose(packed_BTV[row, start : start + length], alone_TV, atol=1e-5)
            start += length


@functools.cache
def _value_and_gradient(config: ModelConfig) -> tuple[jax.Array, dict[str, Any]]:
    def loss(params):
        return jnp.square(_logits(config, params, TOKENS, POSITIONS, SEGMENTS)).mean()

    return jax.value_and_grad(loss)(_params(tiny.model()))


@pytest.mark.parametrize(("scan", "remat"), [(False, "none"), (True, "dots"), (True, "full"), (False, "full")])
def test_ways_to_run_the_layers_agree(scan, remat):
    value, gradients = _value_and_gradient(tiny.model(scan_layers=scan, remat=remat))
    expected, expected_gradients = _value_and_gradient(tiny.model())
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for (path, found), wanted in zip(
        jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(expected_gradients), strict=True
    ):
        name = jax.tree_util.keystr(path)
        assert np.abs(wanted).max() > 0, name
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize(
    ("apart", "changes"),
    [(False, {}), (True, {}), (True, GPT2), (True, {"qk_norm": True, "sliding_window": 3})],
    ids=["stacked", "set apart", "GPT-2", "window"],
)
def test_cached_decoding_equals_the_full_forward(apart, changes):
    """Prompts of 3 and 6 tokens in one pass, then a token at a time."""
    config = tiny.model(**changes)
    params, lengths_B = _params(config), np.array([3, 6])
    held = DecoderFunction(config).for_generation(params) if apart else params
    ones_BT, all_BT = np.ones((B, T), np.int32), np.broadcast_to(np.arange(T, dtype=np.int32), (B, T))
    full_BTV = np.asarray(_logits(config, params, TOKENS, all_BT, ones_BT))

    @jax.jit
    def advance(cache, tokens_BT, positions_BT):
        decoder = DecoderFunction(config).bind(held)
        hidden_BTD, cache = decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT), cache)
        return decoder.logits(hidden_BTD), cache

    cache = empty_cache(config, B, T)
    # Places past a prompt's end are written at a position that the cache does not have.
    prompt_BT = np.where(all_BT[:, :6] < lengths_B[:, None], all_BT[:, :6], T)
    logits_BTV, cache = advance(cache, TOKENS[:, :6], prompt_BT)
    for row, length in enumerate(lengths_B):
        np.testing.assert_allclose(logits_BTV[row, :length], full_BTV[row, :length], atol=1e-5)
    rows_B = np.arange(B)
    for step in range(6):
        places_B = lengths_B + step
        logits_BTV, cache = advance(cache, TOKENS[rows_B, places_B][:, None], places_B[:, None])
        np.testing.assert_allclose(logits_BTV[:, 0], full_BTV[rows_B, places_B], atol=1e-5)


@pytest.mark.parametrize(("matmul", "matrices"), [("plain", jnp.bfloat16), ("fp8", jnp.float32)])
def test_parameters_for_generation_keep_their_split(matmul, matrices):
    """Of each layer by itself, in the dtype of its products; norms stay float32, and so does what fp8 scales."""
    config = tiny.model(dtype="bfloat16", bias="all")
    function, mesh = DecoderFunction(dataclasses.replace(config, matmul=matmul)), tiny.mesh(fsdp=2, tensor=2)
    split = jax.device_put(_params(config), param_shardings(mesh, function.param_axes()))
    with jax.set_mesh(mesh):
        apart = jax.jit(function.for_generation)(split)
    assert apart["embedding"].dtype == jnp.bfloat16
    assert apart["norm"]["scale"].dtype == jnp.float32
    for path, whole in jax.tree.leaves_with_path(split["layers"]):
        found = apart["layers"]
        for key in path:
            found = found[key.key]
        assert len(found) == whole.shape[0]
        for i, leaf in enumerate(found):
            as_wide_as_the_stream = {"out_bias", "down_bias"} & {key.key for key in path}
            dtype = jnp.float32 if "norm" in path[0].key or as_wide_as_the_stream else matrices
            np.testing.assert_array_equal(leaf, whole[i].astype(dtype))
            assert leaf.dtype == dtype
            assert leaf.sharding.shard_shape(leaf.shape) == whole.sharding.shard_shape(whole.shape)[1:]


def test_a_token_is_summed_up_twice_a_layer():
    """On tensor=2, one token a row: after attention's and the MLP's last product, and after the lookup."""
    config, mesh = tiny.model(), tiny.mesh(tensor=2)
    function = DecoderFunction(config)
    params = jax.device_put(_params(config), param_shardings(mesh, function.param_axes()))

    def step(params, cache, tokens_BT, positions_BT):
        return function.bind(params)(tokens_BT, positions_BT, jnp.ones_like(tokens_BT), cache)

    with jax.set_mesh(mesh):
        held, cache = jax.jit(function.for_generation)(params), empty_cache(config, 2, 16)
        tokens_BT = np.zeros((2, 1), np.int32)
        text = jax.jit(step).lower(held, cache, tokens_BT, tokens_BT).compile().as_text()
    assert len(re.findall(r"= \S+ all-reduce(?:-start)?\(", text)) == 2 * config.num_layers + 1


def test_bfloat16_stays_near_float32():
    narrow, wide = tiny.model(dtype="bfloat16"), tiny.model()
    near = np.asarray(_logits(narrow, _params(wide), TOKENS, POSITIONS, SEGMENTS))
    expected = np.asarray(_logits(wide, _params(wide), TOKENS, POSITIONS, SEGMENTS))
    assert near.dtype == np.float32  # logits are not rounded
    error = np.sqrt(np.mean((near - expected) ** 2)) / expected.std()
    assert 0 < error < 0.03
    assert empty_cache(narrow, 1, 4)[0].keys.dtype == jnp.bfloat16


def test_fresh_parameters():
    """float32, of the config's spread, and smaller where a matrix writes to the residual stream."""
    config = tiny.model(embed=64, mlp=128, dtype="bfloat16", tie_embeddings=False)
    model = DecoderFunction(config)
    params = jax.jit(model.init)(jax.random.key(1))
    layers = params["layers"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    for matrix in (params["embedding"], params["output"], layers["attention"]["query"], layers["mlp"]["gate"]):
        assert np.std(matrix) == pytest.approx(config.init_std, rel=0.1)
    for matrix in (layers["attention"]["out"], layers["mlp"]["down"]):
        assert np.std(matrix) == pytest.approx(config.init_std / np.sqrt(2 * config.num_layers), rel=0.1)
    assert not np.array_equal(layers["mlp"]["gate"][0], layers["mlp"]["gate"][1])  # each layer draws its own
    assert not np.array_equal(layers["mlp"]["gate"], layers["mlp"]["up"])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), model.abstract_params()) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), params
    )


def test_no_positions_past_the_table():
    config = tiny.model(**{**GPT2, "max_positions": T - 1})
    with pytest.raises(ConfigError, match=r"max_positions=11: the model knows no positions for 12 tokens"):
        _logits(config, DecoderFunction(config).abstract_params(), TOKENS, POSITIONS, SEGMENTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": "learned"}, "max_positions=0 with position='learned'"),
        ({"max_positions": 8}, "max_positions=8 with position='rope'"),
        ({"sliding_window": -1}, "sliding_window=-1 is less than 0"),
        ({"head_dim": 7}, "head_dim=7 must be even"),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny.model(**changes)


def test_scalings_that_cannot_be():
    with pytest.raises(ConfigError, match=r"factor=0\.5 would shorten"):
        RopeScaling("linear", factor=0.5)
    with pytest.raises(ConfigError, match="beta_slow must be positive and below beta_fast"):
        RopeScaling("yarn", factor=2.0, beta_slow=40.0)
