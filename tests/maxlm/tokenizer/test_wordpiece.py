"""The door to `tokenizers`: BERT's published rules by hand, files as found in the world, and the same ids each time."""

import json
import subprocess
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from maxlm.errors import DataError
from maxlm.tokenizer.wordpiece import EncoderTokenizer
from tests.house.modules import ROOT

# The example of BERT's own tokenization_test.py, and Chinese, which it splits into characters.
VOCAB = "[PAD] [UNK] [CLS] [SEP] [MASK] want ##want ##ed wa un runn ##ing , 中 国 ##国".split()
TEXTS = [f"the {a}{b} of {b}{a} is {a}" for a in ("read", "writ", "deal", "trad") for b in ("ing", "er", "s")] * 2


def _folder(tmp_path, **settings):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    if settings:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_bert_vocabulary(tmp_path):
    tokenizer = EncoderTokenizer.load(_folder(tmp_path))
    assert tokenizer.encode_batch(["UNwantéd, running", "中国", "unwanteds", ""]) == [
        [9, 6, 7, 12, 10, 11], [13, 14], [1], [],
    ]  # fmt: skip
    assert (tokenizer.first_id, tokenizer.last_id, tokenizer.vocab_size) == (2, 3, len(VOCAB))


def test_settings_of_the_vocabulary(tmp_path):
    cased = EncoderTokenizer.load(_folder(tmp_path, do_lower_case=False, tokenize_chinese_chars=False))
    assert cased.encode_batch(["UN", "un", "中国"]) == [[1], [9], [13, 15]]


def test_saved_and_loaded(tmp_path):
    """tokenizer.json comes first, its truncation and padding are ignored, and its neighbours travel along."""
    tokenizer = EncoderTokenizer.load(_folder(tmp_path, do_lower_case=True))
    tokenizer.save(tmp_path / "copy")
    inner = Tokenizer.from_file(str(tmp_path / "copy" / "tokenizer.json"))
    inner.enable_truncation(4)
    inner.enable_padding(length=9)
    inner.save(str(tmp_path / "copy" / "tokenizer.json"))
    again = EncoderTokenizer.load(tmp_path / "copy")
    assert again.encode_batch(["unwanted, running 中国"]) == tokenizer.encode_batch(["unwanted, running 中国"])
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {
        "tokenizer.json", "vocab.txt", "tokenizer_config.json",
    }  # fmt: skip


def test_byte_level_bpe(tmp_path):
    """A tokenizer.json of RoBERTa's kind."""
    inner = Tokenizer(models.BPE({"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "Ġ": 6}, [("a", "b")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = EncoderTokenizer.load(tmp_path)
    assert (tokenizer.first_id, tokenizer.last_id) == (0, 2)
    assert tokenizer.encode_batch(["ab ba"]) == [[5, 6, 4, 3]]


def test_training_gives_the_same_vocabulary(tmp_path):
    """In another process, from the texts in another order: where the package alone draws lots among ties."""
    here = EncoderTokenizer.train(TEXTS, 48)
    code = (
        "from tests.maxlm.tokenizer.test_wordpiece import TEXTS\n"
        "from maxlm.tokenizer.wordpiece import EncoderTokenizer\n"
        f"EncoderTokenizer.train(TEXTS[::-1], 48).save({str(tmp_path / 'there')!r})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    here.save(tmp_path / "here")
    for name in ("tokenizer.json", "vocab.txt"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    words = (tmp_path / "here" / "vocab.txt").read_text().split()
    assert words[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert here.vocab_size == len(words) == 48
    assert 1 not in here.encode_batch(["reading wrings"])[0]
    again = EncoderTokenizer.load(tmp_path / "here")
    assert again.encode_batch(TEXTS) == here.encode_batch(TEXTS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("other", "", r"no tokenizer\.json and no vocab\.txt"),
        ("tokenizer.json", '{"version": "1.0"', r"tokenizer\.json: damaged"),
        ("vocab.txt", "a\nb\n", r"vocab\.txt: has no \[UNK\]"),
    ],
)
def test_wrong_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        EncoderTokenizer.load(tmp_path)


def test_wrong_tokens_around_a_text(tmp_path):
    Tokenizer(models.BPE({"a": 0}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="puts 0 tokens around a text"):
        EncoderTokenizer.load(tmp_path)


def test_lone_surrogate(tmp_path):
    with pytest.raises(DataError, match="lone surrogate"):
        EncoderTokenizer.load(_folder(tmp_path)).encode_batch(["a\ud800b"])
