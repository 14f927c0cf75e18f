"""Folders in Hugging Face's layout against a second implementation in float64, and every way they can be wrong."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from maxlm.errors import ConfigError, DataError, DiskFullError
from maxlm.interop.decoder import FolderModel, save_decoder
from maxlm.interop.decoder_config import model_type_of
from maxlm.models.config import ModelConfig, RopeScaling
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import param_shardings
from tests import decoders, tiny

FAMILIES = tuple(decoders.CONFIGS)
TOKENS = {"bos_token_id": 1, "eos_token_id": 2}
T = 16
TOKENS_T = np.random.default_rng(0).integers(0, decoders.VOCAB, T).astype(np.int32)


def _logits(folder, config: ModelConfig | None = None) -> np.ndarray:
    model = FolderModel(folder)
    function = DecoderFunction(config or model.config)
    decoder = function.bind(model.params(param_shardings(tiny.mesh(tensor=2), function.param_axes())))
    positions_BT = jnp.arange(T, dtype=jnp.int32)[None]
    return np.asarray(decoder.logits(decoder(TOKENS_T[None], positions_BT, jnp.ones((1, T), jnp.int32))[0])[0])


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    return decoders.save(tmp_path / "in", request.param, decoders.weights(request.param))


def _kind(folder) -> str:
    return json.loads((folder / "config.json").read_text())["model_type"]


def test_logits(folder):
    expected = decoders.logits(_kind(folder), decoders.weights(_kind(folder)), TOKENS_T)
    assert expected.std() > 0.5
    np.testing.assert_allclose(_logits(folder), expected, atol=1e-4)


def _save(folder, source, config=None, **options) -> None:
    model = FolderModel(source)
    save_decoder(folder, config or model.config, model.read, max_length=64, tokens=TOKENS, **options)


def test_round_trip(folder, tmp_path):
    """Out again comes what went in: every tensor to the bit, and the config's values; whole, and in shards."""
    tensors = load_file(folder / "model.safetensors")
    for name, limit in (("whole", 10**9), ("shards", 3000)):
        out = tmp_path / name
        _save(out, folder, shard_bytes=limit)
        files = sorted(out.glob("*.safetensors"))
        assert (len(files) > 3) == (name == "shards")
        found = {key: value for file in files for key, value in load_file(file).items()}
        assert found.keys() == tensors.keys()
        for key, value in tensors.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)
        written = json.loads((out / "config.json").read_text())
        expected = decoders.CONFIGS[_kind(folder)] | TOKENS
        assert {key: written.get(key) for key in expected} == expected
        assert FolderModel(out).config == FolderModel(folder).config


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 2**-8), ("float16", 2**-10)])
def test_narrow_weights(tmp_path, dtype, error):
    folder = decoders.save(tmp_path / "in", "llama", decoders.weights("llama"))
    _save(tmp_path / "out", folder, dtype=dtype)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == dtype
    for name, value in load_file(tmp_path / "out" / "model.safetensors").items():
        assert value.dtype.name == dtype
        np.testing.assert_allclose(value.astype(np.float32), decoders.weights("llama")[name], rtol=error)
    np.testing.assert_allclose(_logits(tmp_path / "out"), _logits(folder), atol=0.2)


def test_the_factor_of_mup_is_folded_in(tmp_path):
    """A model trained with muP, exported: others compute its logits without knowing of it."""
    folder = decoders.save(tmp_path / "in", "llama", decoders.weights("llama"))
    _save(tmp_path / "out", folder, dataclasses.replace(FolderModel(folder).config, mup_base_embed=4))
    np.testing.assert_allclose(_logits(tmp_path / "out"), _logits(folder) / 3, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])  # gpt2: with biases
def test_the_share_of_completep_is_folded_in(tmp_path, family):
    folder = decoders.save(tmp_path / "in", family, decoders.weights(family))
    config = dataclasses.replace(FolderModel(folder).config, mup_base_layers=1)
    assert config.depth_multiplier == 2
    _save(tmp_path / "out", folder, config)
    expected = _logits(folder, config)
    assert np.abs(expected - _logits(folder)).max() > 0.1
    np.testing.assert_allclose(_logits(tmp_path / "out"), expected, atol=1e-5)


def test_a_larger_base_stands_for_ntk(tmp_path):
    folder = decoders.save(tmp_path / "in", "llama", decoders.weights("llama"))
    scaled = dataclasses.replace(FolderModel(folder).config, rope_scaling=RopeScaling("ntk", factor=8.0))
    _save(tmp_path / "out", folder, scaled)
    assert FolderModel(tmp_path / "out").config.rope_base == pytest.approx(10_000.0 * 8.0**2)


def test_prefixes_and_buffers(tmp_path):
    """As GPT-2 was published: without "transformer.", with masks, and with the tied matrix once more."""
    tensors = decoders.weights("gpt2")
    short = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    short["h.0.attn.bias"] = np.ones((1, 1, 4, 4), np.float32)
    short["lm_head.weight"] = tensors["transformer.wte.weight"]
    folder = decoders.save(tmp_path / "in", "gpt2", short)
    np.testing.assert_allclose(_logits(folder), decoders.logits("gpt2", tensors, TOKENS_T), atol=1e-4)


REFUSED = [
    ("llama", {"model_type": "mixtral"}, ConfigError, "model_type 'mixtral' is no decoder known here"),
    ("llama", {"model_type": None}, ConfigError, "model_type None is no decoder"),
    ("llama", {"architectures": ["LlamaForSequenceClassification"]}, ConfigError, "of llama only 'LlamaForCausalLM'"),
    ("llama", {"auto_map": {"AutoModel": "x.Y"}}, ConfigError, "auto_map: the model needs code of its own, which"),
    ("llama", {"quantization_config": {"bits": 4}}, ConfigError, "quantised weights, which are not read"),
    ("llama", {"hidden_act": "gelu"}, ConfigError, "hidden_act='gelu' is not supported, only 'silu' or 'swish'"),
    ("llama", {"attention_bias": True}, DataError, r"layers\.0\.self_attn\.o_proj\.bias' is missing"),
    ("llama", {"mlp_bias": True}, ConfigError, "mlp_bias without attention_bias is not supported"),
    ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, ConfigError, "rope_type 'dynamic' is not"),
    ("llama", {"rope_scaling": {"type": "longrope"}}, ConfigError, "'longrope' is not supported, only default, linear"),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 0.7}}, ConfigError, "mscale=0.7 is not"),
    ("llama", {"rope_scaling": {"rope_type": "linear"}}, DataError, "factor should be a number, found None"),
    ("llama", {"partial_rotary_factor": 0.5}, ConfigError, "partial_rotary_factor=0.5 is not supported, only 1.0"),
    ("llama", {"hidden_size": "12"}, DataError, "hidden_size should be a whole number, found '12'"),
    ("llama", {"num_hidden_layers": None}, DataError, "lacks 'num_hidden_layers', a whole number"),
    ("llama", {"tie_word_embeddings": 1}, DataError, "tie_word_embeddings should be true or false, found 1"),
    ("qwen2", {"use_sliding_window": True, "max_window_layers": 1}, ConfigError, "in some layers only"),
    ("qwen3", {"attention_bias": True}, ConfigError, "attention_bias=True is not supported, only False"),
    ("qwen3", {"layer_types": ["linear_attention"] * 2}, ConfigError, "layer_types names 'linear_attention', which is"),
    ("gpt2", {"activation_function": "relu"}, ConfigError, "activation_function='relu' is not supported, only"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, ConfigError, "scale_attn_by_inverse_layer_idx=True is not"),
    ("gpt2", {"n_head": 3}, DataError, "n_embd=16 is no multiple of n_head=3"),
    ("llama", {"num_hidden_layers": 3}, DataError, r"model\.layers\.2\.\S+ is missing; is this checkpoint whole"),
    ("llama", {"num_hidden_layers": 1}, DataError, r"'model\.layers\.1\.\S+ and 8 more has no place in a llama model"),
    ("llama", {"intermediate_size": 24}, DataError, r"shape \[12, 20\]; by config\.json it should be \[12, 24\]"),
    ("llama", {"tie_word_embeddings": True, "model_type": "qwen3", "architectures": None}, DataError, "is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "changes", "error", "message"), REFUSED)
def test_refused(tmp_path, family, changes, error, message):
    folder = decoders.save(tmp_path, family, decoders.weights(family), **changes)
    with pytest.raises(error, match=message):
        _logits(folder)


def test_biases_of_queries_keys_and_values_as_a_llama(tmp_path):
    """Where the tokenizer is not Qwen's: the same logits, and back again. A bias without a place here is refused."""
    folder = decoders.save(tmp_path / "in", "qwen2", decoders.weights("qwen2"))
    _save(tmp_path / "out", folder, qwens_tokenizer=False)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (written["model_type"], written["architectures"]) == ("llama", ["LlamaForCausalLM"])
    assert (written["attention_bias"], written["mlp_bias"]) == (True, False)
    np.testing.assert_allclose(_logits(tmp_path / "out"), _logits(folder), atol=1e-6)
    model = FolderModel(tmp_path / "out")
    assert model.config == dataclasses.replace(FolderModel(folder).config, init_std=model.config.init_std)

    tensors, name = load_file(tmp_path / "out" / "model.safetensors"), "model.layers.1.self_attn.o_proj.bias"
    tensors[name][3] = 1e-3
    save_file(tensors, tmp_path / "out" / "model.safetensors")
    with pytest.raises(ConfigError, match=f"{name} is not zero: attention_bias without mlp_bias is not supported"):
        FolderModel(tmp_path / "out")
    with pytest.raises(ConfigError, match="with a sliding window is a qwen2 to transformers, which would read"):
        model_type_of(tiny.model(bias="qkv", sliding_window=4), qwens_tokenizer=False)


def test_files_that_are_not_read(tmp_path):
    folder = decoders.save(tmp_path / "in", "llama", decoders.weights("llama"))
    whole = folder / "model.safetensors"
    raw = whole.read_bytes()
    for damage in (raw[:100], b"\xff" * 8 + raw[8:], raw[:8] + b"[" + raw[9:], raw[:-4], b""):
        whole.write_bytes(damage)
        with pytest.raises(DataError, match="damaged, or no safetensors file"):
            FolderModel(folder)
    whole.rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="pickled weights are not read, since reading them can run code"):
        FolderModel(folder)
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        FolderModel(folder)


def _described_otherwise(folder, name: str, change):
    """The file of a folder with `change` made of what its header says of a tensor."""
    whole = folder / "model.safetensors"
    raw = whole.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header[name] = change(header[name])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    whole.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])
    return whole


def test_an_entry_that_is_a_list(tmp_path):
    """The package takes it for one; the format does not have it."""
    folder, name = decoders.save(tmp_path, "llama", decoders.weights("llama")), "model.norm.weight"
    whole = _described_otherwise(folder, name, lambda entry: [entry["dtype"], entry["shape"], entry["data_offsets"]])
    assert safe_open(whole, "numpy").get_tensor(name).size == 12
    with pytest.raises(DataError, match=r"safetensors: damaged, .* \(tensor 'model\.norm\.weight' is described by \["):
        FolderModel(folder)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_types_that_numpy_does_not_have(tmp_path, dtype):
    folder, name = decoders.save(tmp_path, "llama", decoders.weights("llama")), "model.norm.weight"
    _described_otherwise(folder, name, lambda entry: entry | {"dtype": dtype, "shape": [48]})  # of the same bytes
    with pytest.raises(DataError, match=r"tensor 'model\.norm\.weight' is of a type that is not read"):
        FolderModel(folder).read(("norm", "scale"), None)


def test_quantised_weights(tmp_path):
    tensors = decoders.weights("llama")
    name = "model.layers.0.mlp.up_proj.weight"
    model = FolderModel(decoders.save(tmp_path, "llama", tensors | {name: tensors[name].astype(np.int8)}))
    with pytest.raises(DataError, match=f"tensor '{name}' is int8: quantised weights are not read"):
        model.read(("layers", "mlp", "up"), 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "layer"}, "norm='layer': transformers has no such model; the nearest, llama, has 'rms'"),
        ({"mlp_kind": "gelu"}, "mlp_kind='gelu'"),
        (
            {"qk_norm": True, "bias": "qkv"},
            "bias='qkv': transformers has no such model; the nearest, qwen3, has 'none'",
        ),
        ({"bias": "all", "sliding_window": 4}, "bias='all': transformers has no such model; the nearest, mistral"),
        ({"position": "learned", "max_positions": 8}, "norm='rms': transformers has no such model; the nearest, gpt2"),
    ],
)
def test_models_that_others_do_not_have(changes, message):
    with pytest.raises(ConfigError, match=message):
        model_type_of(tiny.model(**changes))


def test_a_failed_export_leaves_nothing(tmp_path):
    model = FolderModel(decoders.save(tmp_path / "in", "llama", decoders.weights("llama")))

    def read(path, layer):
        if path == ("norm", "scale"):
            raise OSError(28, "No space left on device")
        return model.read(path, layer)

    with pytest.raises(DiskFullError, match="disk full while writing a model to"):
        save_decoder(tmp_path / "out", model.config, read, max_length=64, tokens=TOKENS, shard_bytes=3000)
    assert not list((tmp_path / "out").iterdir())


def test_every_mesh_reads_the_same(tmp_path):
    model = FolderModel(decoders.save(tmp_path, "llama", decoders.weights("llama")))
    axes = DecoderFunction(model.config).param_axes()
    whole = model.params(param_shardings(tiny.one_device(), axes))
    for sizes in ({"fsdp": 4, "tensor": 2}, {"stage": 2, "fsdp": 2}):
        tiny.assert_equal(model.params(param_shardings(tiny.mesh(**sizes), axes)), jax.device_get(whole))


def test_presets_have_a_name_there():
    """Every published family goes out as what it is."""
    from maxlm.models.families import FAMILIES as PRESETS

    sizes = {"embed": 32, "num_layers": 1, "num_heads": 8, "mlp": 8}
    kinds = {"llama2": "llama", "llama3": "llama", "llama3.2": "llama", "qwen2.5": "qwen2"}
    for name, changes in PRESETS.items():
        values = {"num_kv_heads": 8, **sizes, **changes}
        if name == "gpt2":
            values["head_dim"] = 4
        if scaling := values.get("rope_scaling"):
            values["rope_scaling"] = RopeScaling(**scaling)
        assert model_type_of(ModelConfig(**values)) == kinds.get(name, name)
