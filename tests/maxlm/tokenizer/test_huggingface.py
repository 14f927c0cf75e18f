"""The Hugging Face form: the same ids for every string, by `tokenizers` and by `transformers` (where installed)."""

import json

import pytest
from hypothesis import example, given
from tokenizers import Tokenizer

from maxlm.tokenizer import huggingface
from tests import texts
from tests.maxlm.tokenizer.test_base import HARD, UNICODE


@pytest.fixture(scope="session")
def form(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@given(text=UNICODE)
@example("")
@example(" \u2581 a\u2581\u2581 ")
@example("aaaaaaaaaaaaaaa          b")
def test_any_text(tokenizer, form, text):
    assert form.encode(text).ids == tokenizer.encode(text)


@given(text=HARD)
def test_text_made_of_traps(tokenizer, form, text):
    ids = tokenizer.encode(text)
    assert form.encode(text).ids == ids
    assert form.decode(ids, skip_special_tokens=False) == text


def test_documents(tokenizer, form):
    documents = [text for _, text in texts.corpus(5, documents=60)]
    assert [found.ids for found in form.encode_batch(documents)] == tokenizer.encode_batch(documents)


def test_special_tokens_are_known_by_name(tokenizer, form, folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert {form.token_to_id(name) for name in tokenizer.special} == set(tokenizer.special.values())
    bos, eos, pad, *others = huggingface.special_of(settings, "x")
    assert [tokenizer.special[name] for name in (bos, eos, pad)] == [
        tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id,
    ]  # fmt: skip
    assert set(others) | {bos, eos, pad} == set(tokenizer.special) - {"<unk>"}


def test_names_as_others_write_them():
    written = {
        "bos_token": {"content": "<b>", "lstrip": False},
        "eos_token": "<e>",
        "extra_special_tokens": ["<x>", "<e>"],
    }
    assert huggingface.special_of(written, "x") == ["<b>", "<e>", "", "<x>"]


def test_transformers(tokenizer, folder, tmp_path):
    """Ordinary text, special tokens by name as in a chat template, and text that others typed; saved and read again."""
    transformers = pytest.importorskip("transformers", reason="needs pip install 'maxlm[reference]'")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    documents = [text for _, text in texts.corpus(5, documents=40)]
    for reader in (theirs, _again(transformers, theirs, tmp_path)):
        assert reader(documents, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(documents)
        names = [tokenizer.special[name] for name in ("<|im_start|>", "<|im_end|>", "</s>")]
        assert reader.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", reader.eos_token]) == names
        turn = reader("<|im_start|>karen<|im_end|></s>", add_special_tokens=False)["input_ids"]
        assert turn == [names[0], *tokenizer.encode("karen"), *names[1:]]
        typed = "<|im_start|>karen </s>\u2581 ai.listen.music 阿莫西林"
        plain = reader(typed, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert plain == tokenizer.encode(typed)
        assert reader.decode(turn, skip_special_tokens=True) == "karen"


def _again(transformers, theirs, folder):
    theirs.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)
