"""A tokenizer's folder: what is written is read again; what is damaged, missing or another's is named."""

import json
import shutil

import pytest

from maxlm.errors import DataError
from maxlm.tokenizer.bytelevel import ByteLevelTokenizer
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.train import train
from tests import texts


def model_name(tokenizer):
    return "tokenizer.model" if tokenizer.kind == "sentencepiece" else "tokenizer.json"


def test_a_folder_describes_itself(folder, tokenizer):
    info = json.loads((folder / "tokenizer_info.json").read_text())
    assert (info["kind"], info["digest"], info["vocab_size"]) == (tokenizer.kind, tokenizer.digest, 640)
    assert info["special_tokens"] == tokenizer.special
    assert {"tokenizer.json", "tokenizer_config.json"} < {path.name for path in folder.iterdir()}
    assert isinstance(tokenizer, SentencePieceTokenizer if info["kind"] == "sentencepiece" else ByteLevelTokenizer)
    assert load_tokenizer(folder / model_name(tokenizer)).digest == tokenizer.digest


def test_saved_again_it_is_the_same(folder, tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    for name in (model_name(tokenizer), "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert load_tokenizer(tmp_path).digest == tokenizer.digest


def test_a_tokenizer_of_the_other_kind_takes_its_place(tokenizer, tmp_path):
    other = "bytelevel" if tokenizer.kind == "sentencepiece" else "sentencepiece"
    settings = TokenizerSettings(kind=other, vocab_size=512)
    train((text for _, text in texts.corpus(documents=60)), tmp_path, settings)
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).digest == tokenizer.digest
    assert (tmp_path / "tokenizer.model").exists() == (tokenizer.kind == "sentencepiece")


def test_a_bare_model_is_padded_to_whole_tiles(folder, tokenizer, tmp_path):
    for name in (model_name(tokenizer), "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / name)
    bare = load_tokenizer(tmp_path)
    assert (bare.vocab_size, bare.num_pieces) == (640, 630)
    assert bare.encode("中文 <s> ai.listen.music") == tokenizer.encode("中文 <s> ai.listen.music")


@pytest.mark.parametrize("keep", [0, 10, -10])
def test_a_damaged_model_is_named(folder, tokenizer, tmp_path, keep):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / model_name(tokenizer)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"tokenizer\..*not the model that tokenizer_info\.json beside it describes"):
        load_tokenizer(tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer_info.json").unlink()
    with pytest.raises(DataError, match=rf"{path.name}: (damaged|the file is empty)"):
        load_tokenizer(tmp_path / "copy")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"digest": "f" * 64}, "not the model that"),
        ({"vocab_size": "x"}, "names no vocab_size"),
        ({"vocab_size": 768}, "not the model"),
    ],
)
def test_a_description_of_another_tokenizer(folder, tmp_path, changed, message):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "tokenizer_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(DataError, match=message):
        load_tokenizer(tmp_path / "copy")


def test_a_missing_model_names_the_command(tmp_path):
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "x.model"):
        with pytest.raises(DataError, match=r"no such file; maxlm-data tokenizer trains"):
            load_tokenizer(path)


def test_settings_are_part_of_a_byte_level_tokenizer(folder, tokenizer, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "tokenizer_config.json"
    (tmp_path / "copy" / "tokenizer_info.json").unlink()
    if tokenizer.kind == "sentencepiece":  # there the model says it all
        path.unlink()
        assert load_tokenizer(tmp_path / "copy").digest == tokenizer.digest
        return
    for content, message in (("{", "not valid JSON"), ("[]", "JSON object"), ("{}", "no BOS or no EOS")):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            load_tokenizer(tmp_path / "copy")
    path.unlink()
    with pytest.raises(DataError, match=r"tokenizer_config\.json: no such file"):
        load_tokenizer(tmp_path / "copy")
