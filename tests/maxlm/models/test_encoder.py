"""The encoder against a second one in float64 (tests/encoders.py), and the properties that training rests on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.interop.encoder import load_encoder
from maxlm.models.encoder import EncoderFunction, dropout
from maxlm.models.encoder_config import EncoderConfig
from maxlm.parallel.mesh import batch_sharding
from maxlm.parallel.sharding import param_shardings
from tests import encoders, tiny

SIZES = {"vocab_size": 64, "embed": 16, "num_layers": 2, "num_heads": 4, "mlp": 32, "max_positions": 20}


def _run(config: EncoderConfig, params, tokens_BT, mask_BT, types_BT=None, key=None):
    encoder = EncoderFunction(config).bind(params)
    hidden_BTD = encoder(tokens_BT, mask_BT, types_BT, key)
    return hidden_BTD, encoder.logits(hidden_BTD, key)


_run = jax.jit(_run, static_argnums=0)


def _params(config: EncoderConfig):
    """Large enough for every part to matter."""
    params = EncoderFunction(config).init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([jnp.float32(leaf + 0.3 * rng.normal(size=leaf.shape)) for leaf in leaves])


def _batch():
    rng, mask_BT = np.random.default_rng(0), np.arange(12) < np.array([12, 7, 2, 1, 12, 5, 3, 9])[:, None]
    return np.where(mask_BT, rng.integers(1, 64, mask_BT.shape), 0).astype(np.int32), mask_BT


CONFIG = EncoderConfig(**SIZES, num_labels=3)
TOKENS, MASK = _batch()


def test_types_of_tokens(tmp_path):
    """Two segments, as BERT tells a pair of sentences apart."""
    tensors = encoders.weights("bert")
    loaded = load_encoder(encoders.save(tmp_path, "bert", tensors))
    tokens_BT, mask_BT = encoders.batch("bert")
    types_BT = np.broadcast_to(np.arange(16) >= 5, tokens_BT.shape).astype(np.int32)
    found = np.asarray(EncoderFunction(loaded.config).bind(loaded.params)(tokens_BT, mask_BT, types_BT))
    expected = encoders.hidden_states("bert", tensors, tokens_BT, mask_BT, types_BT)
    np.testing.assert_allclose(found[mask_BT], expected[mask_BT], atol=1e-4)
    plain = encoders.hidden_states("bert", tensors, tokens_BT, mask_BT)
    assert np.abs(found - plain)[mask_BT].max() > 0.01


def test_padding_changes_nothing():
    """Neither how much of it there is nor what stands in it."""
    params = _params(CONFIG)
    hidden_BTD, logits_BC = _run(CONFIG, params, TOKENS, MASK)
    noise_BT = np.where(MASK, TOKENS, 33)
    np.testing.assert_allclose(_run(CONFIG, params, noise_BT, MASK)[1], logits_BC, atol=1e-6)
    short_BT = MASK[1:2, :7]  # the second row, without its padding
    np.testing.assert_allclose(
        _run(CONFIG, params, TOKENS[1:2, :7], short_BT)[0][0], np.asarray(hidden_BTD)[1, :7], atol=1e-5
    )


def test_bfloat16_stays_near_float32():
    narrow = EncoderConfig(**SIZES, num_labels=3, dtype="bfloat16")
    params = _params(CONFIG)
    near, expected = (
        np.asarray(_run(narrow, params, TOKENS, MASK)[1]),
        np.asarray(_run(CONFIG, params, TOKENS, MASK)[1]),
    )
    assert near.dtype == np.float32
    error = np.sqrt(np.mean((near - expected) ** 2)) / expected.std()
    assert 0 < error < 0.05
    assert _run(narrow, params, TOKENS, MASK)[0].dtype == jnp.bfloat16


def test_dropout():
    """Nothing without a key; the same for the same key; right on average."""
    params = _params(CONFIG)
    plain = np.asarray(_run(CONFIG, params, TOKENS, MASK)[1])
    first, again, other = (_run(CONFIG, params, TOKENS, MASK, None, jax.random.key(i))[1] for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, plain)
    dropped = np.asarray(dropout(jnp.ones(20_000), 0.25, jax.random.key(0)))
    assert np.mean(dropped == 0) == pytest.approx(0.25, abs=0.02)
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    ones = jnp.ones(3)
    assert dropout(ones, 0.25, None) is ones
    assert dropout(ones, 0.0, jax.random.key(0)) is ones


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2)])
def test_a_mesh_changes_nothing(sizes):
    """Logits and gradients, split over eight devices, are those of one."""
    labels_B = np.arange(8) % 3

    def loss(params, tokens_BT, mask_BT):
        encoder = EncoderFunction(CONFIG).bind(params)
        logits_BC = encoder.logits(encoder(tokens_BT, mask_BT))
        return -jnp.mean(jax.nn.log_softmax(logits_BC)[np.arange(8), labels_B])

    params = _params(CONFIG)
    expected, expected_grads = jax.jit(jax.value_and_grad(loss))(params, TOKENS, MASK)
    mesh = tiny.mesh(*sizes)
    splits = param_shardings(mesh, EncoderFunction(CONFIG).param_axes())
    with jax.set_mesh(mesh):
        batch = jax.device_put((TOKENS, MASK), batch_sharding(mesh))
        value, grads = jax.jit(jax.value_and_grad(loss), out_shardings=(None, splits))(
            jax.device_put(params, splits), *batch
        )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for (path, found), wanted in zip(
        jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(expected_grads), strict=True
    ):
        name = jax.tree_util.keystr(path)
        if "['key']['bias']" not in name:  # a key's bias moves all scores of a query alike: no gradient
            assert np.abs(wanted).max() > 1e-6, name
        np.testing.assert_allclose(found, wanted, atol=2e-6, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "embed=16 is no multiple of num_heads=5"),
        ({"num_layers": 0}, "num_layers must be at least 1, found 0"),
        ({"family": "roberta", "pad_id": 18}, "max_positions=20 leaves no room for two tokens"),
        ({"num_labels": 2, "pooler": False}, "needs the pooler"),
        ({"dropout": 1.0}, r"dropout=1.0 is outside \[0, 1\)"),
    ],
)
def test_sizes_that_do_not_go_together(changes, message):
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**(SIZES | changes))
