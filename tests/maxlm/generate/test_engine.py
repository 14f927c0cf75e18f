"""Generation against the full forward pass, token by token."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.errors import ConfigError, UserError
from maxlm.generate.engine import Engine, _rounded, generate_text
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import param_shardings
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import Config
from tests import tiny

GREEDY = Sampling(temperature=0.0)
PROMPTS = [[1, 70, 81, 92], [1, 50, 60, 70, 80, 90, 100, 110, 120]]
MAX_TOKENS = 12
GPT2 = {
    "mlp_kind": "gelu", "norm": "layer", "bias": "all", "position": "learned", "max_positions": 20, "num_kv_heads": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    """A model with random parameters, large enough that its choices are clear, and a small real tokenizer."""
    words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    tokenizer = train_model(iter([words]), TokenizerSettings(vocab_size=384, spare_tokens=60))
    config = Config(model=tiny.model(vocab_size=tokenizer.vocab_size, tie_embeddings=False))
    model = DecoderFunction(config.model)
    rng = np.random.default_rng(0)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.float32(0.4 * rng.normal(size=leaf.shape) + ("scale" in jax.tree_util.keystr(path))),
        model.abstract_params(),
    )
    return TrainedModel(config, model, params, tokenizer, Meta(Position(), {}, tokenizer.vocab_size), tiny.one_device())


def _tokens(trained: TrainedModel, prompts, sampling=GREEDY, max_tokens=MAX_TOKENS, seed=0) -> np.ndarray:
    return np.stack(list(Engine(trained, sampling).stream(prompts, max_tokens, seed)), axis=1)


@pytest.fixture(scope="module")
def greedy(trained) -> np.ndarray:
    return _tokens(trained, PROMPTS)


def test_greedy_is_the_argmax_of_the_full_forward(trained, greedy):
    tokenizer = trained.tokenizer
    allowed_V = np.arange(tokenizer.vocab_size) < tokenizer.num_pieces
    allowed_V[[tokenizer.bos_id, tokenizer.pad_id]] = False
    width = max(map(len, PROMPTS)) + MAX_TOKENS
    positions_BT = np.broadcast_to(np.arange(width, dtype=np.int32), (2, width))

    @jax.jit
    def logits(tokens_BT):
        decoder = trained.model.bind(trained.params)
        return decoder.logits(decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT))[0])

    tokens_BT = np.zeros((2, width), np.int32)
    for row, prompt in enumerate(PROMPTS):
        tokens_BT[row, : len(prompt) + MAX_TOKENS] = [*prompt, *greedy[row]]
    logits_BTV = np.where(allowed_V, logits(tokens_BT), -np.inf)
    for row, prompt in enumerate(PROMPTS):
        after = logits_BTV[row, len(prompt) - 1 : len(prompt) - 1 + MAX_TOKENS]
        np.testing.assert_array_equal(after.argmax(axis=-1), greedy[row])
    assert len(np.unique(greedy)) > 6  # not the same word over and over
    assert greedy.dtype == np.int32


@pytest.mark.parametrize("row", [0, 1])
def test_a_batch_equals_each_prompt_alone(trained, greedy, row):
    np.testing.assert_array_equal(_tokens(trained, [PROMPTS[row]])[0], greedy[row])


def test_a_cache_of_another_length_changes_nothing(trained, greedy):
    longer = Engine(trained, GREEDY).stream(PROMPTS, max_tokens=200)  # more than one step of cache lengths
    np.testing.assert_array_equal(np.stack([next(longer) for _ in range(MAX_TOKENS)], axis=1), greedy)


def test_other_parameters(trained, greedy):
    engine = Engine(trained, GREEDY)
    assert _written(engine) == greedy.tolist()
    engine.params = jax.tree.map(lambda leaf: leaf[::-1], trained.params)
    assert _written(engine) != greedy.tolist()
    engine.params = trained.params
    assert _written(engine) == greedy.tolist()


def _written(engine: Engine) -> list[list[int]]:
    return np.stack(list(engine.stream(PROMPTS, MAX_TOKENS)), axis=1).tolist()


def test_a_cpu_writes_in_float32(trained, greedy):
    model = dataclasses.replace(trained.config.model, dtype="bfloat16")
    narrow = trained._replace(config=dataclasses.replace(trained.config, model=model), model=DecoderFunction(model))
    np.testing.assert_array_equal(_tokens(narrow, PROMPTS), greedy)


def test_lengths_that_are_compiled():
    """Multiples of the step, of longer ones from four of them on; no length grows by more than a quarter and a step."""
    lengths = {_rounded(length, 16) for length in range(1, 4097)}
    assert sorted(lengths)[:10] == [16, 32, 48, 64, 80, 96, 112, 128, 160, 192]
    assert len(lengths) == 28
    assert all(length <= _rounded(length, 16) <= max(1.25 * length, length + 15) for length in range(1, 4097))


def _saying(trained: TrainedModel, eos: int, pad: int | None = None) -> TrainedModel:
    """The same model with another token as its end of text."""
    tokenizer = copy.copy(trained.tokenizer)
    tokenizer.eos_id = eos
    tokenizer.pad_id = tokenizer.pad_id if pad is None else pad
    return trained._replace(tokenizer=tokenizer)


@pytest.mark.parametrize("shared", [False, True], ids=["own padding", "padding is EOS"])
def test_a_row_ends_at_eos_and_the_batch_when_all_have(trained, greedy, shared):
    eos = int(greedy[0, 2])
    assert eos not in greedy[0, :2]
    assert eos not in greedy[1]
    ending = _saying(trained, eos, pad=eos if shared else None)
    found = _tokens(ending, PROMPTS)
    np.testing.assert_array_equal(found[0, :2], greedy[0, :2])
    assert (found[0, 2:] == eos).all()
    np.testing.assert_array_equal(found[1], greedy[1])
    assert _tokens(ending, PROMPTS[:1]).shape == (1, 3)  # EOS is the last thing said


def test_only_tokens_with_a_text_are_drawn(trained):
    hot = Sampling(temperature=50.0)
    drawn = _tokens(trained, PROMPTS * 8, hot, max_tokens=40)
    assert drawn.max() < trained.tokenizer.num_pieces < trained.tokenizer.vocab_size
    assert not {trained.tokenizer.bos_id, trained.tokenizer.pad_id} & set(drawn.flat)
    assert len(set(drawn.flat)) > 150


def test_seeds(trained):
    warm = Sampling(temperature=1.0, top_k=20)
    first, again, other = (_tokens(trained, PROMPTS, warm, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[:, 0] != first[:, 1]).any()  # each step draws anew


@pytest.mark.parametrize("prompts", [[], [[1, 2], []]])
def test_empty_prompts(trained, prompts):
    with pytest.raises(UserError, match="a prompt must hold at least one token"):
        list(Engine(trained, GREEDY).stream(prompts, 4))


@pytest.mark.parametrize("sizes", [{"data": 2, "fsdp": 2}, {"tensor": 2}, {"fsdp": 2, "tensor": 2}])
def test_a_mesh_writes_the_same(trained, greedy, sizes):
    """Rows and heads of the cache are split; three prompts on four devices take a row more, which nobody sees."""
    mesh = tiny.mesh(**sizes)
    split = jax.device_put(trained.params, param_shardings(mesh, trained.model.param_axes()))
    found = _tokens(trained._replace(params=split, mesh=mesh), [*PROMPTS, PROMPTS[0]])
    np.testing.assert_array_equal(found, greedy[[0, 1, 0]])


@pytest.mark.parametrize("axis", ["context", "stage"])
def test_axes_that_generation_does_not_split(trained, axis):
    with pytest.raises(ConfigError, match=f"mesh.{axis}=2: generation splits by data, fsdp and tensor alone"):
        Engine(trained._replace(mesh=tiny.mesh(**{axis: 2})), GREEDY)


def test_learned_positions_end(trained):
    config = dataclasses.replace(trained.config, model=tiny.model(**GPT2, vocab_size=trained.tokenizer.vocab_size))
    model = DecoderFunction(config.model)
    gpt2 = trained._replace(config=config, model=model, params=model.init(jax.random.key(0)))
    assert _tokens(gpt2, [PROMPTS[1]], max_tokens=11).shape == (1, 11)  # to the last position
    with pytest.raises(UserError, match="take 21 tokens; the model knows 20 positions"):
        _tokens(gpt2, [PROMPTS[1]], max_tokens=12)


def test_repetition_penalty(trained, greedy):
    """So high that no token comes twice, nor one of its own prompt."""
    found = _tokens(trained, PROMPTS, Sampling(temperature=0.0, repetition_penalty=1e6))
    assert len(set(greedy[0])) < MAX_TOKENS or set(greedy[0]) & set(PROMPTS[0])
    for prompt, row in zip(PROMPTS, found, strict=True):
        assert len({*prompt, *row.tolist()}) == len(prompt) + MAX_TOKENS
    np.testing.assert_array_equal(_tokens(trained, PROMPTS, Sampling(temperature=0.0, repetition_penalty=1.0)), greedy)


def test_stop_strings_end_a_row(trained):
    (whole,) = generate_text(trained, ["fox"], 20, GREEDY)
    stop, pieces = whole[8:10], []
    assert generate_text(trained, ["fox", "the"], 20, GREEDY, stop=[stop, "never said"], show=pieces.append) == [
        whole[: whole.index(stop)],
        generate_text(trained, ["the"], 20, GREEDY, stop=[stop])[0],
    ]
    assert "".join(pieces) == whole[: whole.index(stop)]


def test_text_in_text_out(trained):
    texts = generate_text(trained, ["the quick", "fox"], 8, GREEDY)
    prompts = [[trained.tokenizer.bos_id, *trained.tokenizer.encode(text)] for text in ("the quick", "fox")]
    tokens = _tokens(trained, prompts, max_tokens=8)
    assert texts == [trained.tokenizer.decode([t for t in row if t != trained.tokenizer.eos_id]) for row in tokens]
    assert generate_text(trained, ["fox"], 0, GREEDY) == [""]
