"""What training must learn, and what it must say when it can't."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.errors import ConfigError, DataError
from maxlm.tokenizer.spm import Tokenizer
from maxlm.tokenizer.train import bounded, train, train_model
from tests import texts


def sample():
    return (text for _, text in texts.corpus(documents=120))


@pytest.fixture(scope="module")
def pieces():
    return list(train_model(sample(), vocab_size=640).pieces())


def test_line_ends_and_indentation_become_pieces(pieces):
    assert any("\n" in piece and len(piece) > 1 for piece in pieces)
    assert "\u2581" * 4 in pieces
    assert "\t\t" in pieces or any("\t\t" in piece for piece in pieces)


def test_no_piece_holds_two_digits(pieces):
    assert not [piece for piece in pieces if sum(c.isdigit() for c in piece) > 1 and not piece.startswith("<0x")]
    assert set("0123456789") <= set(pieces)


def test_the_same_text_gives_the_same_bytes(tmp_path):
    digests = {train(sample(), tmp_path / name, vocab_size=512).digest for name in "ab"}
    assert len(digests) == 1
    assert (tmp_path / "a/tokenizer.model").read_bytes() == (tmp_path / "b/tokenizer.model").read_bytes()
    assert Tokenizer.load(tmp_path / "a").digest in digests


def test_all_rows_but_the_spare_ones_get_a_piece():
    for spare in (0, 1, 130):
        tokenizer = train_model(sample(), vocab_size=640, spare_tokens=spare)
        assert (tokenizer.vocab_size, tokenizer.num_pieces) == (640, 640 - spare)


def test_long_lines_count_as_much_as_short_ones():
    """SentencePiece drops lines of more than 4,192 bytes without a word; here everything stands in one."""
    line = "völlig " * 20_000 + "grundlos " * 20_000
    pieces = list(train_model(iter([line, texts.english(np.random.default_rng(0), 3000)]), vocab_size=384).pieces())
    assert "\u2581völlig" in pieces
    assert "\u2581grundlos" in pieces


def test_text_around_reserved_signs_counts():
    """SentencePiece skips a whole sentence for one U+2585."""
    marked = " \u2585\u2581 ".join(["selbander"] * 2000)
    pieces = list(train_model(iter([marked, *sample()]), vocab_size=512).pieces())
    assert "\u2581selbander" in pieces


def test_control_names_in_the_text_do_no_harm():
    tokenizer = train_model(iter(["<s>x</s><pad><unk><0x41> " * 3000, *sample()]), vocab_size=512)
    for text in ("<s>", "</s>", "<pad>", "<unk>", "<0x41>"):
        assert min(tokenizer.encode(text)) > 3
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_rare_characters_are_spelt_in_bytes():
    characters = "".join(chr(0x4E00 + i) for i in range(400))
    tokenizer = train_model(iter([characters, *sample()] * 2), vocab_size=640, character_coverage=0.98)
    assert characters[300] not in tokenizer.pieces()
    assert tokenizer.decode(tokenizer.encode(characters)) == characters


@given(st.lists(st.sampled_from(["a", "中", " ", "\n", "\r\n", "\n\n", "b" * 9000, "c d " * 3000, "\u2581", "\u2585"])))
def test_cutting_loses_nothing_but_reserved_signs(parts):
    text = "".join(parts)
    cut = list(bounded(text))
    assert "".join(cut) == text.replace("\u2581", "").replace("\u2585", "")
    assert all(0 < len(part) <= 8192 for part in cut)


def test_cuts_stand_before_line_ends():
    text = ("word " * 50 + "\n\n") * 100
    cut = list(bounded(text))
    assert len(cut) > 3
    assert all(part.startswith("\n\n") for part in cut[1:])
    assert not any(part.endswith("\n") for part in cut[:-1])


def test_too_little_text_says_how_much_it_is_good_for():
    little = [texts.english(np.random.default_rng(0), 300)]
    with pytest.raises(
        DataError, match=r"asks for 2048: set config\.tokenizer\.vocab_size to at most \d+, or"
    ) as caught:
        train_model(iter(little), vocab_size=2048)
    largest = int(re.search(r"at most (\d+)", str(caught.value))[1])
    assert train_model(iter(little), vocab_size=largest).num_pieces == largest
    with pytest.raises(DataError, match=f"to at most {largest}"):
        train_model(iter(little), vocab_size=largest + 128)


def test_a_vocabulary_smaller_than_the_alphabet():
    characters = "".join(chr(0x4E00 + i) for i in range(2000))
    with pytest.raises(DataError, match=r"characters alone take 2\d\d\d of 640"):
        train_model(iter([characters]), vocab_size=640, character_coverage=1.0)


def test_no_text():
    for nothing in ([], [""], ["\u2585"]):
        with pytest.raises(DataError, match="no text"):
            train_model(iter(nothing), vocab_size=512)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 500}, "no multiple of 128"),
        ({"vocab_size": 0}, "no multiple of 128"),
        ({"spare_tokens": 300}, "spare_tokens: 300 of 512"),
        ({"spare_tokens": -1}, "spare_tokens: -1"),
        ({"user_tokens": ["a b"]}, "'a b' is empty or holds white space"),
        ({"user_tokens": [""]}, "is empty"),
        ({"user_tokens": ["<s>"]}, "'<s>' is the name of a built-in token"),
        ({"user_tokens": ["<0x41>"]}, "built-in"),
        ({"user_tokens": ["x", "x"]}, "twice"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=message):
        train_model(iter(["text"]), **{"vocab_size": 512, **settings})
