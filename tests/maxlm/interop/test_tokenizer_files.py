"""Tokenizers carried in and out: usable here or refused, and the same ids on both sides."""

import json
import shutil

import pytest
from tokenizers import Tokenizer as Inner

from maxlm.errors import ConfigError, DataError
from maxlm.interop.tokenizer_files import export_tokenizer, import_tokenizer, splits_like_qwen
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train

TEXTS = ["the quick brown fox", " 42 中😀\n", "<|endoftext|> is text", ""]
WORDS = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20


@pytest.fixture(scope="module", params=["sentencepiece", "bytelevel"])
def ours(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    train(iter([WORDS]), folder, TokenizerSettings(kind=request.param, vocab_size=384, spare_tokens=80))
    return folder


@pytest.fixture
def theirs(tmp_path):
    """As Qwen's: byte-level, no BOS in tokenizer_config.json, and none before a text."""
    folder = tmp_path / "theirs"
    train(iter([WORDS]), folder, TokenizerSettings(kind="bytelevel", vocab_size=384, spare_tokens=80))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_info.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": None}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def test_out_and_in_again(ours, tmp_path):
    """What leaves puts BOS before each text, as in training; what comes back encodes as before."""
    before = load_tokenizer(ours)
    export_tokenizer(ours, tmp_path / "out")
    assert not (tmp_path / "out" / "tokenizer_info.json").exists()
    form = Inner.from_file(str(tmp_path / "out" / "tokenizer.json"))
    for text in TEXTS:
        assert form.encode(text).ids == [before.bos_id, *before.encode(text)] == before.prompt(text)
        assert form.encode(text, add_special_tokens=False).ids == before.encode(text)
    after = import_tokenizer(tmp_path / "out", tmp_path / "in", {}, before.vocab_size)
    again = load_tokenizer(tmp_path / "in")
    assert (after.digest, after.vocab_size) == (again.digest, again.vocab_size) == (again.digest, before.vocab_size)
    assert after.bos_before_prompts
    assert again.bos_before_prompts
    assert again.encode_batch(TEXTS) == before.encode_batch(TEXTS)
    assert (again.bos_id, again.eos_id, again.pad_id) == (before.bos_id, before.eos_id, before.pad_id)


def test_which_split_like_qwen(ours, tmp_path):
    """Ours do not; `test_decoder_transformers.py` asks Qwen's own class."""
    assert not splits_like_qwen(ours)
    assert not splits_like_qwen(tmp_path)


def test_a_folder_without_the_hugging_face_form(ours, tmp_path):
    before = load_tokenizer(ours)
    if before.kind == "bytelevel":
        return  # which is nothing else
    shutil.copytree(ours, tmp_path / "old")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "old" / name).unlink()
    export_tokenizer(tmp_path / "old", tmp_path / "out")
    assert Inner.from_file(str(tmp_path / "out" / "tokenizer.json")).encode("the").ids == before.prompt("the")


def test_others_files_stay_as_they_are(theirs, tmp_path):
    """But for BOS, which is named where it was not; nothing is put before a prompt, there or here."""
    found = import_tokenizer(theirs, tmp_path / "in", {"bos_token_id": None, "eos_token_id": [1]}, 512)
    assert (found.bos_id, found.eos_id, found.vocab_size) == (1, 1, 512)
    assert not load_tokenizer(tmp_path / "in").bos_before_prompts
    assert found.prompt("fox") == found.encode("fox")
    assert found.prompt("") == [1]  # a model can't go on from nothing
    export_tokenizer(tmp_path / "in", tmp_path / "out")
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (theirs / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "chat_template.jinja", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_ends_from_the_models_config(theirs, tmp_path):
    (theirs / "tokenizer_config.json").write_text('{"model_max_length": 1024}')  # as GPT-2's
    found = import_tokenizer(theirs, tmp_path / "in", {"bos_token_id": 0, "eos_token_id": 1}, 384)
    assert (found.bos_id, found.eos_id, found.pad_id) == (0, 1, 1)
    values = json.loads((tmp_path / "in" / "tokenizer_config.json").read_text())
    assert values["model_max_length"] == 1024
    with pytest.raises(DataError, match="no BOS or no EOS"):
        import_tokenizer(theirs, tmp_path / "other", {}, 384)


def test_refused(theirs, ours, tmp_path):
    target = tmp_path / "in"
    with pytest.raises(DataError, match="pieces do not fit into 128 rows"):
        import_tokenizer(theirs, target, {"bos_token_id": 0}, 128)
    assert not list(target.iterdir())
    (theirs / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}')
    with pytest.raises(ConfigError, match="auto_map: the tokenizer needs code of its own, which is not run"):
        import_tokenizer(theirs, target, {}, 384)
    (theirs / "tokenizer_config.json").unlink()
    (theirs / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="damaged, or of another version of tokenizers"):
        import_tokenizer(theirs, target, {}, 384)
    (theirs / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"neither tokenizer\.model nor tokenizer\.json; --tokenizer names another"):
        import_tokenizer(theirs, target, {}, 384)
    if (ours / "tokenizer.model").exists():  # its Hugging Face form alone, as Llama 2's may come
        (theirs / "tokenizer.json").write_bytes((ours / "tokenizer.json").read_bytes())
        (theirs / "tokenizer_config.json").write_bytes((ours / "tokenizer_config.json").read_bytes())
        with pytest.raises(DataError, match="no byte-level BPE"):
            import_tokenizer(theirs, target, {}, 384)
