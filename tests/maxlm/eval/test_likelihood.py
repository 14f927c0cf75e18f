"""Likelihoods against a full softmax, one row at a time, whatever the batch, the mesh and the length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError
from maxlm.eval.likelihood import Scorer, encode_pair
from maxlm.generate.load import TrainedModel
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import param_shardings
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import Config
from tests import tiny

MAX_LENGTH = 40


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    tokenizer = train_model(iter([words]), TokenizerSettings(vocab_size=384, spare_tokens=60))
    config = Config(model=tiny.model(vocab_size=tokenizer.vocab_size, tie_embeddings=False))
    model = DecoderFunction(config.model)
    params = jax.tree.map(lambda leaf: leaf * 8, model.init(jax.random.key(0)))
    return TrainedModel(config, model, params, tokenizer, Meta(Position(), {}, tokenizer.vocab_size), tiny.one_device())


@pytest.fixture(scope="module")
def pairs(trained):
    rng = np.random.default_rng(0)
    lengths = [(1, 1), (7, 3), (20, 1), (3, 30), (60, 4), (35, 8), (2, 2)]
    made = [tuple(rng.integers(3, 300, n).tolist() for n in both) for both in lengths]
    return [*made, ([5], [])]


@pytest.fixture(scope="module")
def expected(trained, pairs):
    """Nats and whether each token is the likeliest, in float64, of the last MAX_LENGTH + 1 tokens of each pair."""
    decoder, found = trained.model.bind(trained.params), []
    for context, continuation in pairs:
        row = (context + continuation)[-MAX_LENGTH - 1 :]
        tokens_BT = np.array([row[:-1] or [0]], np.int32)
        positions_BT = np.arange(tokens_BT.shape[1], dtype=np.int32)[None]
        logits_TV = np.asarray(decoder.logits(decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT))[0])[0], float)
        logs_TV = logits_TV - np.log(np.exp(logits_TV).sum(axis=1, keepdims=True))
        said = [(len(row) - 1 - len(continuation) + i, token) for i, token in enumerate(continuation)]
        nats = sum(logs_TV[place, token] for place, token in said)
        found.append((nats, all(logs_TV[place].argmax() == token for place, token in said)))
    return found


@pytest.mark.parametrize(("sizes", "batch"), [({}, 3), ({}, 8), ({"fsdp": 2, "tensor": 2}, 3)])
def test_equal_to_the_full_softmax(trained, pairs, expected, sizes, batch):
    mesh = tiny.mesh(**sizes)
    params = jax.device_put(trained.params, param_shardings(mesh, trained.model.param_axes()))
    told: list[int] = []
    found = Scorer(trained._replace(mesh=mesh, params=params), MAX_LENGTH, batch, told.append)(pairs)
    np.testing.assert_allclose([likelihood.nats for likelihood in found], [nats for nats, _ in expected], atol=1e-3)
    assert [likelihood.greedy for likelihood in found] == [greedy for _, greedy in expected]
    assert sum(told) == len(pairs)


def test_a_model_with_few_positions(trained, pairs):
    """What does not fit is cut at its beginning, even where more was asked for."""
    sizes = {"position": "learned", "norm": "layer", "mlp_kind": "gelu", "bias": "all", "max_positions": 21}
    config = Config(model=tiny.model(vocab_size=trained.tokenizer.vocab_size, **sizes))
    model = DecoderFunction(config.model)
    learned = trained._replace(config=config, model=model, params=model.init(jax.random.key(0)))
    cut = [(pairs[4][0][-18:], pairs[4][1])]
    (found,), (expected,) = Scorer(learned, 1000, 1)([pairs[4]]), Scorer(learned, 21, 1)(cut)
    assert found.nats == pytest.approx(expected.nats, abs=1e-5)
    assert found.nats < -1


def test_the_likeliest_token_is_greedy(trained, pairs):
    """Of each token after a context exactly one is; and all their probabilities sum to one."""
    vocab = trained.tokenizer.vocab_size
    found = Scorer(trained, MAX_LENGTH, 64)([(pairs[1][0], [token]) for token in range(vocab)])
    assert sum(likelihood.greedy for likelihood in found) == 1
    assert np.exp([likelihood.nats for likelihood in found]).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("axis", ["context", "stage"])
def test_axes_that_are_not_split(trained, axis):
    with pytest.raises(ConfigError, match=f"mesh.{axis}=2: evaluation splits by data, fsdp and tensor alone"):
        Scorer(trained._replace(mesh=tiny.mesh(**{axis: 2})), MAX_LENGTH)


def test_where_a_context_ends(trained):
    tokenizer = trained.tokenizer
    assert encode_pair(tokenizer, "the quick", " fox") == (tokenizer.prompt("the quick"), tokenizer.encode(" fox"))
    assert encode_pair(tokenizer, "the quick ", "fox") == encode_pair(tokenizer, "the quick", " fox")
    assert encode_pair(tokenizer, "", "fox") == ([tokenizer.bos_id], tokenizer.encode("fox"))
    context, continuation = encode_pair(tokenizer, " ", "fox")
    assert context == [tokenizer.bos_id]
    assert tokenizer.decode(continuation) == " fox"
