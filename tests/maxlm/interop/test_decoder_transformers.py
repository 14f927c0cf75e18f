"""Decoders against `transformers` itself, on models that it made and saved: pip install 'maxlm[reference]' runs these.

Each family is made once, small, with the options that its published models have; weights are large enough that every
tensor matters.
"""

import copy
import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxlm.generate.engine import Engine
from maxlm.generate.load import TrainedModel
from maxlm.generate.sampling import Sampling
from maxlm.interop.decoder import FolderModel, save_decoder
from maxlm.interop.tokenizer_files import export_tokenizer, splits_like_qwen
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import param_shardings
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model
from maxlm.train.checkpoint import Meta, Position
from maxlm.train.config import Config, OptimizerConfig
from maxlm.train.losses import next_token_loss
from maxlm.train.optimizer import make_optimizer
from tests import tiny

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'maxlm[reference]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: the reference extra has it")

VOCAB, B, T = 384, 2, 24
SIZES = {
    "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 128, "initializer_range": 0.3, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
ROPE = {"factor": 4.0, "original_max_position_embeddings": 16}
GPT2 = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.3}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama2": ("Llama", SIZES | {"num_key_value_heads": 4}),
    "llama3.1": (
        "Llama",
        SIZES
        | {"rope_theta": 5e5, "rope_scaling": ROPE | {"rope_type": "llama3", "low_freq_factor": 1.0,
           "high_freq_factor": 4.0}, "head_dim": 16},
    ),
    "llama3.2-tied": ("Llama", SIZES | {"tie_word_embeddings": True, "rope_theta": 5e5}),
    "llama-biases": ("Llama", SIZES | {"attention_bias": True, "mlp_bias": True}),
    "llama-linear": ("Llama", SIZES | {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "qwen2.5": ("Qwen2", SIZES | {"rope_theta": 1e6}),
    "qwen2.5-tied-yarn": ("Qwen2", SIZES | {"rope_scaling": ROPE | {"rope_type": "yarn"}, "tie_word_embeddings": True}),
    "qwen2.5-window": ("Qwen2", SIZES | {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0}),
    "qwen3": ("Qwen3", SIZES | {"head_dim": 16, "rope_theta": 1e6}),
    "qwen3-tied": ("Qwen3", SIZES | {"head_dim": 16, "tie_word_embeddings": True}),
    "mistral": ("Mistral", SIZES | {"sliding_window": 6, "head_dim": 8}),
    "mistral-v0.3": ("Mistral", SIZES | {"sliding_window": None, "head_dim": 16, "rope_theta": 1e6}),
    "gpt2": ("GPT2", GPT2),
    "gpt2-untied": ("GPT2", GPT2 | {"tie_word_embeddings": False, "n_inner": 40}),
}  # fmt: skip
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def _class(name: str) -> Any:
    kind = MODELS[name][0]
    return getattr(transformers, "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")


@functools.cache
def _made(name: str) -> Any:
    torch.manual_seed(0)
    kind, sizes = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        model = _class(name)(getattr(transformers, f"{kind}Config")(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases other than ones and zeros
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(params=MODELS, scope="module")
def case(request, tmp_path_factory):
    """A model of theirs, and the same imported: name, their model, its folder, ours, parameters."""
    folder = tmp_path_factory.mktemp(request.param) / "theirs"
    theirs = _made(request.param)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(folder, max_shard_size="20KB" if request.param == "llama2" else "1GB")
    found = FolderModel(folder)
    ours = DecoderFunction(found.config)
    params = found.params(param_shardings(tiny.mesh(fsdp=2, tensor=2), ours.param_axes()))
    return request.param, theirs, folder, ours, params


def _tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(3, VOCAB, (B, T)).astype(np.int32)


@functools.partial(jax.jit, static_argnums=0)
def _logits(ours: DecoderFunction, params, tokens_BT):
    decoder = ours.bind(params)
    positions_BT = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), tokens_BT.shape)
    return decoder.logits(decoder(tokens_BT, positions_BT, jnp.ones_like(tokens_BT))[0])


def _their_logits(model) -> np.ndarray:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(torch.tensor(_tokens()).long()).logits.numpy()


def test_logits_in_and_out(case, tmp_path):
    """Equal to 1e-4 after import; exported, transformers loads every tensor to the bit; imported again, the same."""
    name, theirs, _, ours, params = case
    expected = _their_logits(theirs)
    np.testing.assert_allclose(_logits(ours, params, _tokens()), expected, atol=1e-4)

    def read(path, layer):
        value = functools.reduce(lambda tree, key: tree[key], path, params)
        return np.asarray(value if layer is None else value[layer])

    save_decoder(tmp_path, ours.config, read, max_length=128, tokens=TOKENS, shard_bytes=60_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    # Without a window Mistral computes what Llama does, and goes out under that name.
    assert type(again) is _class("llama2" if name == "mistral-v0.3" else name)
    assert again.dtype == torch.float32
    assert theirs.state_dict().keys() == again.state_dict().keys()
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    np.testing.assert_array_equal(_their_logits(again), expected)
    back = FolderModel(tmp_path)
    assert back.config == ours.config
    tiny.assert_equal(back.params(param_shardings(tiny.one_device(), ours.param_axes())), params)
    assert max(path.stat().st_size for path in tmp_path.glob("*.safetensors")) < 70_000


def _as_ours(model, folder, ours: DecoderFunction) -> dict[str, Any]:
    """Their parameters, or what stands in their place, in our tree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    return FolderModel(folder).params(param_shardings(tiny.one_device(), ours.param_axes()))


@functools.partial(jax.jit, static_argnums=0)
def _update(ours: DecoderFunction, params, tokens_BT):
    """Gradients, and the parameters after a step of our optimizer."""

    def loss(params):
        decoder = ours.bind(params)
        inputs_BT = tokens_BT[:, :-1]
        positions_BT = jnp.broadcast_to(jnp.arange(T - 1, dtype=jnp.int32), inputs_BT.shape)
        hidden_BTD, _ = decoder(inputs_BT, positions_BT, jnp.ones_like(inputs_BT))
        weights_BT = jnp.ones(inputs_BT.shape)
        return next_token_loss(hidden_BTD, decoder.unembedding(), tokens_BT[:, 1:], weights_BT, z_loss=0, chunks=1).loss

    grads = jax.grad(loss)(params)
    optimizer = make_optimizer(OPTIMIZER, lambda _: OPTIMIZER.learning_rate)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return grads, optax.apply_updates(params, updates)


# eps: a key's bias has no gradient but noise where positions are not rotary; with 1e-8 Adam would make steps of it
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, eps=1e-5, clip_norm=0.0)


def test_gradients_and_a_step(case, tmp_path):
    """Gradients equal to 1e-3 of the largest, one step of AdamW to 1e-4, as torch makes them."""
    _, theirs, _, ours, params = case
    model = copy.deepcopy(theirs)
    tokens = torch.tensor(_tokens()).long()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model(tokens, labels=tokens).loss.backward()
    grads = copy.deepcopy(model)
    for parameter, source in zip(grads.parameters(), model.parameters(), strict=True):
        parameter.data = source.grad.clone()
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": OPTIMIZER.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (OPTIMIZER.b1, OPTIMIZER.b2)
    torch.optim.AdamW(groups, lr=OPTIMIZER.learning_rate, betas=betas, eps=OPTIMIZER.eps).step()
    expected_grads, expected = _as_ours(grads, tmp_path / "grads", ours), _as_ours(model, tmp_path / "after", ours)

    found_grads, found = _update(ours, jax.device_get(params), _tokens())
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected_grads))
    assert largest > 0.1
    for path, leaf in jax.tree_util.tree_leaves_with_path(found_grads):
        name = jax.tree_util.keystr(path)
        expected_leaf = functools.reduce(lambda tree, key: tree[key.key], path, expected_grads)
        np.testing.assert_allclose(leaf, expected_leaf, atol=1e-3 * largest, rtol=1e-3, err_msg=name)
    moved = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), found, jax.device_get(params))
    assert sorted(jax.tree.leaves(moved))[1] > 5e-4  # all but GPT-2's biases of keys
    jax.tree_util.tree_map_with_path(
        lambda path, a, b: np.testing.assert_allclose(a, b, atol=1e-4, err_msg=jax.tree_util.keystr(path)),
        found,
        expected,
    )


@functools.cache
def _tokenizer():
    words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    return train_model(iter([words]), TokenizerSettings(vocab_size=VOCAB, spare_tokens=60))


def test_greedy_token_by_token(case):
    """64 tokens after prompts of different lengths: ours in one batch on a mesh, theirs each alone."""
    _, theirs, _, ours, params = case
    tokenizer, prompts = _tokenizer(), [[1, 70, 81, 92], [1, *range(50, 70)], [300]]
    mesh, meta = tiny.mesh(fsdp=2, tensor=2), Meta(Position(), {}, VOCAB)
    trained = TrainedModel(Config(model=ours.config), ours, params, tokenizer, meta, mesh)
    found = np.stack(list(Engine(trained, Sampling(temperature=0.0)).stream(prompts, 64)), axis=1)
    never = sorted({tokenizer.bos_id, tokenizer.pad_id, *range(tokenizer.num_pieces, VOCAB)})
    for row, prompt in zip(found, prompts, strict=True):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            tokens = torch.tensor([prompt])
            out = theirs.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=64,
                suppress_tokens=never, eos_token_id=tokenizer.eos_id, pad_token_id=tokenizer.eos_id,
            )  # fmt: skip
        expected = out[0, len(prompt) :].tolist()
        assert row[: len(expected)].tolist() == expected
        assert (row[len(expected) :] == tokenizer.eos_id).all()
    assert len(np.unique(found)) > 20


QKV = {"bias": "qkv", "vocab_size": VOCAB, "tie_embeddings": False}


def test_a_tokenizer_in_a_folder_of_qwens_shape(tmp_path):
    """transformers reads the tokenizer of any qwen2 folder as Qwen's; so ours leaves in a folder of another family."""
    _tokenizer().save(tmp_path / "tokenizer")
    export_tokenizer(tmp_path / "tokenizer", tmp_path)
    config = tiny.model(**QKV)
    params = jax.device_get(DecoderFunction(config).init(jax.random.key(0)))

    def read(path, layer):
        value = functools.reduce(lambda tree, key: tree[key], path, params)
        return value if layer is None else value[layer]

    qwens = splits_like_qwen(tmp_path)
    save_decoder(tmp_path, config, read, max_length=128, tokens=TOKENS, qwens_tokenizer=qwens)
    text = "the quick brown fox, 42 dogs\n\n"
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text).input_ids == _tokenizer().prompt(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    np.testing.assert_allclose(_their_logits(model), _logits(DecoderFunction(config), params, _tokens()), atol=1e-4)


def test_qwens_own_tokenizer_is_told(tmp_path):
    vocab = {chr(c): i for i, c in enumerate(range(33, 127))}
    transformers.Qwen2Tokenizer(vocab=vocab, merges=[]).save_pretrained(tmp_path)
    assert splits_like_qwen(tmp_path)
