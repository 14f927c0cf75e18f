"""Against `transformers` itself, on models that it made and saved: pip install 'maxlm[reference]' runs these."""

import os
import warnings

import numpy as np
import pytest

from maxlm.interop.encoder import load_encoder, save_encoder
from maxlm.models.encoder import EncoderFunction
from maxlm.tokenizer.wordpiece import EncoderTokenizer

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'maxlm[reference]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: the reference extra has it")

SIZES = {
    "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 40, "initializer_range": 0.3,
}  # fmt: skip
DISTIL = {
    "vocab_size": 100, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 40,
    "initializer_range": 0.3,
}  # fmt: skip
ROBERTA = {"pad_token_id": 1, "type_vocab_size": 1}
MODELS = {
    "Bert": SIZES | {"hidden_act": "gelu"},
    "Roberta": SIZES | ROBERTA,
    "XLMRoberta": SIZES | ROBERTA,
    "Electra": SIZES | {"embedding_size": 16},
    "DistilBert": DISTIL,
}


@pytest.mark.parametrize("kind", ["Model", "ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize("name", MODELS)
def test_equal_to_transformers(tmp_path, name, kind):
    """Hidden states to 1e-4 with padding; a classifier's outputs too; and what is written is read back to the bit."""
    torch.manual_seed(0)
    labels = {"num_labels": 3} if kind == "ForSequenceClassification" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        model = getattr(transformers, name + kind)(getattr(transformers, f"{name}Config")(**MODELS[name], **labels))
        model.eval().save_pretrained(tmp_path / "in", max_shard_size="20KB" if name == "Bert" else "1GB")
    loaded = load_encoder(tmp_path / "in")
    assert loaded.fresh == ()
    encoder = EncoderFunction(loaded.config).bind(loaded.params)

    mask_BT = np.arange(30) < np.array([30, 17, 5, 1])[:, None]
    tokens_BT = np.random.default_rng(0).integers(5, 100, mask_BT.shape)
    tokens_BT[~mask_BT] = loaded.config.pad_id
    hidden_BTD = encoder(tokens_BT.astype(np.int32), mask_BT)
    inputs = {"input_ids": torch.tensor(tokens_BT), "attention_mask": torch.tensor(mask_BT).long()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = getattr(model, model.base_model_prefix) if kind != "Model" else model
        expected = base(**inputs)
        np.testing.assert_allclose(
            np.asarray(hidden_BTD)[mask_BT], expected.last_hidden_state.numpy()[mask_BT], atol=1e-4
        )
        if kind == "Model" and name in ("Bert", "Roberta", "XLMRoberta"):
            np.testing.assert_allclose(encoder.pooled(hidden_BTD), expected.pooler_output.numpy(), atol=1e-4)
        if labels:
            np.testing.assert_allclose(encoder.logits(hidden_BTD), model(**inputs).logits.numpy(), atol=1e-4)
        if kind == "ForMaskedLM":
            return  # its head is not kept
        save_encoder(tmp_path / "out", loaded)
        again = getattr(transformers, name + kind).from_pretrained(tmp_path / "out")
    assert model.state_dict().keys() == again.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


TEXTS = [
    "Hello, WORLD! naïve café",
    "中文字符 mixed with English",
    "",
    "un-heard-of\u3000spaces\tand\u00a0more",
    "😀 x" * 9,
]


@pytest.mark.parametrize("bare", [False, True])
def test_tokenizer(tmp_path, bare):
    """A vocabulary trained here gives the same ids there; so does a vocab.txt alone."""
    tokenizer = EncoderTokenizer.train(TEXTS * 3, 90)
    tokenizer.save(tmp_path)
    if bare:
        (tmp_path / "tokenizer.json").unlink()
        tokenizer = EncoderTokenizer.load(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
            assert theirs(text)["input_ids"] == [tokenizer.first_id, *ids, tokenizer.last_id]


PUBLIC = os.environ.get("MAXLM_ENCODER", "")


@pytest.mark.skipif(not PUBLIC, reason="MAXLM_ENCODER names no folder with an encoder of the BERT family")
def test_a_public_checkpoint():
    """Token ids, hidden states and pooler of texts of 2 to 512 tokens."""
    texts = [*TEXTS, *(" ".join(f"{word} of the {i}th page" for i in range(3**n)) for n, word in enumerate(TEXTS))]
    loaded, tokenizer = load_encoder(PUBLIC), EncoderTokenizer.load(PUBLIC)
    encoder = EncoderFunction(loaded.config).bind(loaded.params)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoTokenizer.from_pretrained(PUBLIC)
        model = transformers.AutoModel.from_pretrained(PUBLIC).eval()
        for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
            inputs = theirs(text, truncation=True, max_length=512, return_tensors="pt")
            tokens_BT = np.array([[tokenizer.first_id, *ids[:510], tokenizer.last_id]], np.int32)
            np.testing.assert_array_equal(inputs["input_ids"].numpy(), tokens_BT)
            expected = model(**inputs)
            hidden_BTD = encoder(tokens_BT, np.ones(tokens_BT.shape, bool))
            np.testing.assert_allclose(hidden_BTD, expected.last_hidden_state.numpy(), atol=1e-4)
            np.testing.assert_allclose(encoder.pooled(hidden_BTD), expected.pooler_output.numpy(), atol=1e-4)
