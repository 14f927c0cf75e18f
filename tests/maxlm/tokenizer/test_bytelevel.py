"""Byte-level BPE: how texts are split, and tokenizers of its kind that others made."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from maxlm.errors import DataError
from maxlm.tokenizer.bytelevel import SIGN_OF_BYTE, ByteLevelTokenizer, pre_tokenizer, signs, unsigned
from maxlm.tokenizer.load import load_tokenizer


def split(text, digits=1):
    return [(unsigned(part) or b"").decode() for part, _ in pre_tokenizer(digits).pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("the cat's (hat)", ["the", " cat", "'s", " (", "hat", ")"]),
        ("don'ts I'LL", ["don", "'ts", " I", "'LL"]),
        ("in 1984x", ["in", " ", "1", "9", "8", "4", "x"]),
        ("我爱Python，真的", ["我爱", "Python", "，", "真的"]),
        ("def f(x):\n        return x", ["def", " f", "(x", "):\n", "       ", " return", " x"]),
        ("a\r\n\r\n\tb", ["a", "\r\n\r\n", "\tb"]),
        ("a   \n b  ", ["a", "   \n", " b", "  "]),
        ("naïve e\u0301té हिन्दी", ["naïve", " e\u0301té", " हिन्दी"]),
        ("", []),
    ],
)
def test_the_pattern(text, parts):
    assert split(text) == parts


@given(text=st.text(st.characters(exclude_categories=["Cs"])), digits=st.integers(1, 3))
def test_splitting_loses_nothing_and_groups_digits(text, digits):
    parts = split(text, digits)
    assert "".join(parts) == text
    assert all(sum(c.isdecimal() for c in part) <= digits for part in parts)


def test_the_alphabet_is_the_packages_own():
    assert sorted(SIGN_OF_BYTE.values()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    every = bytes(range(256))
    assert unsigned(signs(every)) == every
    assert unsigned("中") is None
    shown = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("é中 \n")
    assert shown[0][0] == signs("é中 \n".encode())


def others(tmp_path, **changed):
    """A folder as GPT-2's or Llama 3's: special tokens among the added ones, ids behind the vocabulary."""
    vocab = {sign: i for i, sign in enumerate([*SIGN_OF_BYTE.values(), "he", "hell"])}
    made = Tokenizer(models.BPE(vocab=vocab | {"ll": 258}, merges=[("h", "e"), ("l", "l"), ("he", "ll")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|begin|>", "<|end|>"])
    made.add_tokens([AddedToken("héllo", normalized=False)])
    made.save(str(tmp_path / "tokenizer.json"))
    settings = {"bos_token": {"content": "<|begin|>"}, "eos_token": "<|end|>"} | changed
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return tmp_path


def test_a_folder_of_others(tmp_path):
    tokenizer = load_tokenizer(others(tmp_path))
    assert (tokenizer.num_pieces, tokenizer.vocab_size) == (262, 384)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (259, 260, 260)
    assert tokenizer.special == {"<|begin|>": 259, "<|end|>": 260}
    assert tokenizer.encode("hell")[0] == 257
    assert tokenizer.encode("xhéllox")[1:-1] == [261]
    text = "<|begin|>hello héllo"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert not {259, 260} & set(tokenizer.encode(text))
    assert tokenizer.merges() == [("h", "e"), ("l", "l"), ("he", "ll")]


def test_what_is_no_byte_level_bpe(tmp_path):
    folder = others(tmp_path)
    data = json.loads((folder / "tokenizer.json").read_text())
    vocab = data["model"]["vocab"]
    for wrong, message in (
        (vocab | {"中": 300}, "its token '中' is not of that alphabet"),
        ({sign: i for sign, i in vocab.items() if sign != "!"}, "no token for byte 0x21"),
    ):
        changed = json.dumps(data | {"model": data["model"] | {"vocab": wrong}}).encode()
        with pytest.raises(DataError, match=message):
            ByteLevelTokenizer(changed, (folder / "tokenizer_config.json").read_bytes())
