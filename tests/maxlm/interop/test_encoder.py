"""Folders in Hugging Face's layout against a second implementation in float64, and every way they can be wrong."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from maxlm.errors import ConfigError, DataError
from maxlm.interop.encoder import load_encoder, save_encoder
from maxlm.models.encoder import EncoderFunction
from tests import encoders

FAMILIES = tuple(encoders.CONFIGS)
LABELS = ("good", "fair", "bad")


def _hidden(folder, family, **options):
    tokens_BT, mask_BT = encoders.batch(family)
    loaded = load_encoder(folder, **options)
    encoder = EncoderFunction(loaded.config).bind(loaded.params)
    return encoder, np.asarray(encoder(tokens_BT, mask_BT)), mask_BT


@pytest.mark.parametrize("prefixed", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states(tmp_path, family, prefixed):
    tensors = encoders.weights(family, prefix=f"{family}." if prefixed else "")
    encoder, found, mask_BT = _hidden(encoders.save(tmp_path, family, tensors), family)
    expected = encoders.hidden_states(family, tensors, *encoders.batch(family))
    np.testing.assert_allclose(found[mask_BT], expected[mask_BT], atol=1e-4)
    assert (encoder.pooler is not None) == (family in ("bert", "roberta"))
    assert encoder.head is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier(tmp_path, family):
    folder = encoders.classifier(tmp_path, family, LABELS)
    loaded = load_encoder(folder)
    assert (loaded.labels, loaded.fresh, loaded.regression) == (LABELS, (), False)
    encoder, hidden_BTD, _ = _hidden(folder, family)
    tensors = load_file(folder / "model.safetensors")
    expected = encoders.logits(family, tensors, encoders.hidden_states(family, tensors, *encoders.batch(family)))
    np.testing.assert_allclose(encoder.logits(hidden_BTD), expected, atol=1e-4)


@pytest.mark.parametrize("labels", [(), LABELS])
@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip(tmp_path, family, labels):
    """Out again comes what went in: every tensor to the bit, and the config's values."""
    if labels:
        folder = encoders.classifier(tmp_path / "in", family, labels)
    else:
        folder = encoders.save(tmp_path / "in", family, encoders.weights(family))
    save_encoder(tmp_path / "out", load_encoder(folder))
    before, after = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "out"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert encoders.CONFIGS[family].items() <= written.items()
    assert load_encoder(tmp_path / "out").config == load_encoder(folder).config
    assert load_encoder(tmp_path / "out").labels == labels


def test_shards_and_old_names(tmp_path):
    """An index with two shards, and a norm's weights as TensorFlow called them: the same model."""
    tensors = encoders.weights("bert")
    whole = load_encoder(encoders.save(tmp_path / "whole", "bert", tensors)).params
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in tensors.items()
    }
    folder = encoders.save(tmp_path / "shards", "bert", {})
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(sorted(old))}
    for file in set(places.values()):
        save_file({name: old[name] for name in old if places[name] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    loaded = load_encoder(folder).params
    np.testing.assert_array_equal(loaded["layers"]["mlp_norm"]["scale"], whole["layers"]["mlp_norm"]["scale"])
    np.testing.assert_array_equal(loaded["embeddings"]["norm"]["bias"], whole["embeddings"]["norm"]["bias"])

    victim = next(iter(places))
    index.write_text(json.dumps({"weight_map": places | {"more": places[victim]}}))
    with pytest.raises(DataError, match=r"tensor 'more' is missing; model\.safetensors\.index\.json says"):
        load_encoder(folder)
    index.write_text(json.dumps({"weight_map": places | {victim: "../elsewhere.safetensors"}}))
    with pytest.raises(DataError, match=r"'\.\./elsewhere\.safetensors' is no file of this folder"):
        load_encoder(folder)
    index.write_text(json.dumps({"weight_map": places}))
    (folder / places[victim]).unlink()
    with pytest.raises(DataError, match=f"{places[victim]}: no such file, though .* copy all shards"):
        load_encoder(folder)


def test_half_precision_is_widened(tmp_path):
    import ml_dtypes

    tensors = encoders.weights("bert")
    narrow = {name: value.astype(ml_dtypes.bfloat16) for name, value in tensors.items()}
    loaded = load_encoder(encoders.save(tmp_path, "bert", narrow))
    token = loaded.params["embeddings"]["token"]
    assert token.dtype == np.float32
    np.testing.assert_array_equal(token, narrow["embeddings.word_embeddings.weight"].astype(np.float32))
    np.testing.assert_allclose(token, tensors["embeddings.word_embeddings.weight"], rtol=2**-8)


def test_other_heads_are_left(tmp_path):
    """A masked language model's head and old buffers are no part of the encoder; its body is read."""
    tensors = encoders.weights("bert", prefix="bert.")
    bare = {name: value for name, value in tensors.items() if "pooler" not in name}
    more = {"cls.predictions.bias": np.zeros(3, np.float32), "bert.embeddings.position_ids": np.arange(24)[None]}
    loaded = load_encoder(encoders.save(tmp_path, "bert", bare | more))
    assert (loaded.config.pooler, loaded.fresh) == (False, ())


def test_a_head_for_new_labels(tmp_path):
    """The body is the checkpoint's, the head is fresh, by seed; with the same labels the head is kept."""
    folder = encoders.classifier(tmp_path, "roberta", LABELS)
    kept = load_encoder(folder, LABELS)
    assert (kept.fresh, kept.labels) == ((), LABELS)
    first, again, other = (load_encoder(folder, ("a", "b"), seed=seed) for seed in (0, 0, 1))
    assert (first.fresh, first.labels, first.config.num_labels) == (("head",), ("a", "b"), 2)
    np.testing.assert_array_equal(first.params["pooler"]["kernel"], kept.params["pooler"]["kernel"])
    np.testing.assert_array_equal(first.params["head"]["kernel"], again.params["head"]["kernel"])
    assert not np.array_equal(first.params["head"]["kernel"], other.params["head"]["kernel"])
    body = encoders.save(tmp_path / "body", "distilbert", encoders.weights("distilbert"))
    assert load_encoder(body, ("a", "b")).fresh == ("pooler", "head")


def test_regression_is_kept(tmp_path):
    folder = encoders.classifier(tmp_path / "in", "bert", ("score",))
    loaded = load_encoder(folder)
    assert loaded.regression
    save_encoder(tmp_path / "out", loaded)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["problem_type"] == "regression"
    assert load_encoder(tmp_path / "out").regression


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "integers", "no_layer"])
def test_wrong_tensors(tmp_path, change):
    tensors, name = encoders.weights("bert"), "encoder.layer.1.output.dense.weight"
    if change == "missing":
        del tensors[name]
        message = f"tensor '{name}' is missing"
    elif change == "unexpected":
        tensors["encoder.layer.0.adapter.weight"] = tensors["encoder.layer.0.adapter.bias"] = tensors[name]
        message = "tensor 'encoder.layer.0.adapter.bias' and 1 more has no place in a bert encoder of 2 layers"
    elif change == "shape":
        tensors[name] = tensors[name].T.copy()
        message = rf"tensor '{name}' has shape \[20, 12\]; by config.json it should be \[12, 20\]"
    elif change == "integers":
        tensors[name] = tensors[name].astype(np.int8)
        message = f"tensor '{name}' is int8: quantised weights"
    else:
        tensors = {key: value for key, value in tensors.items() if "layer.1." not in key}
        message = r"tensor 'encoder\.layer\.1\.\S+' is missing; is this checkpoint whole"
    with pytest.raises(DataError, match=message):
        load_encoder(encoders.save(tmp_path, "bert", tensors))


def test_pickles_are_refused(tmp_path):
    folder = encoders.save(tmp_path, "bert", {})
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"no model\.safetensors and no model\.safetensors\.index\.json"):
        load_encoder(folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(
        DataError, match=r"pytorch_model\.bin: pickled weights are not read, since reading them can run"
    ):
        load_encoder(folder)


def test_damaged_file(tmp_path):
    folder = encoders.save(tmp_path, "bert", encoders.weights("bert"))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"model\.safetensors: damaged, or no safetensors file"):
        load_encoder(folder)
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model_type": "gpt2"}, ConfigError, "model_type 'gpt2' is no encoder known here"),
        ({"model_type": "roberto"}, ConfigError, "did you mean 'roberta'"),
        ({"hidden_act": "mish"}, ConfigError, "activation 'mish' is not supported"),
        ({"position_embedding_type": "relative_key"}, ConfigError, "position_embedding_type='relative_key' is not"),
        ({"is_decoder": True}, ConfigError, "is_decoder=True is not supported"),
        ({"hidden_size": None}, DataError, "lacks 'hidden_size'"),
        ({"num_hidden_layers": "two"}, DataError, "num_hidden_layers should be of type int, found 'two'"),
        ({"num_attention_heads": 5}, ConfigError, "embed=12 is no multiple of num_heads=5"),
        ({"architectures": ["XForSequenceClassification"], "id2label": {"1": "a"}}, DataError, "id2label has no '0'"),
        (
            {"architectures": ["XForSequenceClassification"], "problem_type": "multi_label_classification"},
            ConfigError,
            "labels exclude each other",
        ),
    ],
)
def test_wrong_config(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        load_encoder(encoders.save(tmp_path, "bert", encoders.weights("bert"), **change))
