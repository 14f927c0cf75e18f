"""What training must learn, and what it must say when it can't."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.errors import ConfigError, DataError
from maxlm.tokenizer import train_spm
from maxlm.tokenizer.load import load_tokenizer
from maxlm.tokenizer.reach import unreachable
from maxlm.tokenizer.settings import TokenizerSettings, gb2312_level_1
from maxlm.tokenizer.train import train, train_model
from maxlm.tokenizer.train_spm import bounded
from tests import texts
from tests.maxlm.tokenizer.conftest import KINDS

ROOT = Path(__file__).resolve().parents[3]


def sample():
    return (text for _, text in texts.corpus(documents=120))


def trained(documents=None, unwanted=None, **settings):
    settings = TokenizerSettings(**{"vocab_size": 640, **settings})
    return train_model(sample() if documents is None else iter(documents), settings, unwanted)


def strings(tokenizer):
    return [raw.decode(errors="ignore") for raw in tokenizer.pieces()]


@pytest.fixture(scope="module", params=KINDS)
def pieces(request):
    return strings(trained(kind=request.param))


def test_line_ends_and_indentation_become_pieces(pieces):
    assert any("\n" in piece and len(piece) > 1 for piece in pieces)
    assert "    " in pieces or "   " in pieces  # byte-level leaves the last blank to the word
    assert "\t\t" in pieces or any("\t\t" in piece for piece in pieces)


@pytest.mark.parametrize("digits", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_piece_holds_more_digits(kind, digits):
    numbers = [" ".join(str(n) for n in range(start, start + 900, 7)) for start in (1000, 10_000, 123_000)]
    tokenizer = trained([*numbers, *sample()], kind=kind, digits=digits, vocab_size=768)
    found = [sum(c.isdecimal() for c in piece) for piece in strings(tokenizer)]
    assert max(found) == digits
    assert set("0123456789") <= set(strings(tokenizer))
    assert tokenizer.decode(tokenizer.encode("2024, 1234567")) == "2024, 1234567"


def test_byte_level_groups_digits_from_the_left():
    tokenizer = trained([" ".join(map(str, range(3000))), *sample()], kind="bytelevel", digits=2, vocab_size=512)
    assert [tokenizer.decode([i]) for i in tokenizer.encode("12345")] == ["12", "34", "5"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_bytes(kind, tmp_path):
    """In other processes too, with other hash seeds and numbers of threads."""
    settings = TokenizerSettings(kind=kind, vocab_size=512)
    first = train(sample(), tmp_path / "a", settings)
    code = (
        "import sys; from maxlm.tokenizer.settings import TokenizerSettings; from maxlm.tokenizer.train import train;"
        "from tests import texts; train((t for _, t in texts.corpus(documents=120)), sys.argv[1],"
        f" TokenizerSettings(kind={kind!r}, vocab_size=512))"
    )
    environment = {"PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1", "PATH": ""}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], cwd=ROOT, env=environment, check=True)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    digests = [[hashlib.sha256((tmp_path / x / name).read_bytes()).hexdigest() for name in names] for x in "ab"]
    assert digests[0] == digests[1]
    assert load_tokenizer(tmp_path / "b").digest == first.digest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spare", [0, 1, 130])
def test_all_rows_but_the_spare_ones_get_a_piece(kind, spare):
    tokenizer = trained(kind=kind, spare_tokens=spare)
    assert (tokenizer.vocab_size, tokenizer.num_pieces) == (640, 640 - spare)
    assert not unreachable(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_long_lines_count_as_much_as_short_ones(kind):
    """SentencePiece drops lines of more than 4,192 bytes without a word; here everything stands in one."""
    line = "völlig " * 20_000 + "grundlos " * 20_000
    tokenizer = trained([line, texts.english(np.random.default_rng(0), 3000)], kind=kind, vocab_size=384)
    assert {" völlig", " grundlos"} <= set(strings(tokenizer))


@pytest.mark.parametrize("kind", KINDS)
def test_text_around_reserved_signs_counts(kind):
    """SentencePiece skips a whole sentence for one U+2585."""
    marked = " \u2585\u2581 ".join(["selbander"] * 2000)
    assert " selbander" in strings(trained([marked, *sample()], kind=kind, vocab_size=512))


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_tokens_in_the_text_do_no_harm(kind):
    names = ("<s>", "</s>", "<pad>", "<unk>", "<0x41>", "<|im_start|>")
    tokenizer = trained(["<s>x</s><pad><unk><0x41><|im_start|> " * 3000, *sample()], kind=kind, vocab_size=512)
    for text in names:
        ids = tokenizer.encode(text)
        assert not set(ids) & set(tokenizer.special.values())
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unwanted_is_left_out_with_what_was_built_on_it(kind):
    spam = "buyviagranow " * 300
    assert any("viagra" in piece for piece in strings(trained([spam, *sample()], kind=kind)))
    clean = trained([spam, *sample()], lambda piece: "viag" in piece, kind=kind)
    assert not [piece for piece in strings(clean) if "viag" in piece]
    assert clean.num_pieces == 640
    assert not unreachable(clean)
    assert clean.decode(clean.encode(spam)) == spam


def test_much_that_is_unwanted_is_made_up_for():
    """More than what is learnt beyond the pieces asked for."""
    tokenizer = trained(unwanted=lambda piece: "a" in piece, vocab_size=512)
    assert tokenizer.num_pieces == 512
    assert not [piece for piece in strings(tokenizer) if len(piece) > 1 and "a" in piece]


@pytest.mark.parametrize("kind", KINDS)
def test_each_character_of_gb2312s_first_level_is_a_token(kind):
    level = gb2312_level_1()
    assert (len(level), len(set(level)), level[0], level[-1]) == (3755, 3755, "啊", "座")
    tokenizer = trained([level[::50] * 3, *sample()], kind=kind, characters="gb2312", vocab_size=4608, spare_tokens=0)
    assert all(len(ids) == 1 for ids in tokenizer.encode_batch(list(level)))
    assert not unreachable(tokenizer)


def test_rare_characters_are_spelt_in_bytes():
    characters = "".join(chr(0x4E00 + i) for i in range(400))
    tokenizer = trained([characters, *sample()] * 2, character_coverage=0.98)
    assert characters[300] not in strings(tokenizer)
    assert tokenizer.decode(tokenizer.encode(characters)) == characters


@given(
    st.lists(st.sampled_from(["a", "中", " ", "\n", "\r\n", "\n\n", "b" * 9000, "c d " * 3000, "\u2581", "12345", "7"]))
)
def test_cutting_loses_nothing_but_reserved_signs(parts):
    text = "".join(parts).replace("\u2585", "")
    for digits in (1, 2, 3):
        cut = list(bounded(text, digits))
        assert "".join(cut) == text.replace("\u2581", "")
        assert all(0 < len(part) <= 8192 for part in cut)
        if digits > 1:
            assert not any(re.search(rf"\d{{{digits + 1}}}", part) for part in cut)


def test_cuts_stand_before_line_ends():
    text = ("word " * 50 + "\n\n") * 100
    cut = list(bounded(text))
    assert len(cut) > 3
    assert all(part.startswith("\n\n") for part in cut[1:])
    assert not any(part.endswith("\n") for part in cut[:-1])


@pytest.mark.parametrize("kind", KINDS)
def test_too_little_text_says_how_much_it_is_good_for(kind):
    little = [texts.english(np.random.default_rng(0), 600)]
    with pytest.raises(
        DataError, match=r"asks for 4096: set config\.tokenizer\.vocab_size to at most \d+, or"
    ) as caught:
        trained(little, kind=kind, vocab_size=4096)
    largest = int(re.search(r"at most (\d+)", str(caught.value))[1])
    assert trained(little, kind=kind, vocab_size=largest).num_pieces == largest
    with pytest.raises(DataError, match=f"to at most {largest}"):
        trained(little, kind=kind, vocab_size=largest + 128)


def test_a_vocabulary_smaller_than_the_alphabet():
    characters = "".join(chr(0x4E00 + i) for i in range(2000))
    with pytest.raises(DataError, match=r"characters alone take 2\d\d\d of"):
        trained([characters], character_coverage=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_text(kind):
    for nothing in ([], [""]):
        with pytest.raises(DataError, match="no text"):
            trained(nothing, kind=kind, vocab_size=512)
    with pytest.raises(DataError, match="no text"):
        trained(["\u2585"], vocab_size=512)


def test_other_errors_of_the_trainer_stay_what_they_are():
    assert isinstance(train_spm._in_our_words(RuntimeError("else"), 512), RuntimeError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 500}, "no multiple of 128"),
        ({"vocab_size": 0}, "no multiple of 128"),
        ({"vocab_size": 256}, "spare_tokens: 0 of 256"),
        ({"spare_tokens": 300}, "spare_tokens: 300 of 512"),
        ({"spare_tokens": -1}, "spare_tokens: -1"),
        ({"digits": 4}, "digits: 4 is not 1, 2 or 3"),
        ({"character_coverage": 1.5}, "character_coverage: 1.5"),
        ({"user_tokens": ("a  b",)}, "'a  b' is empty, or holds"),
        ({"user_tokens": (" a",)}, "' a' is empty, or holds"),
        ({"user_tokens": ("a\tb",)}, "blanks other than single spaces"),
        ({"user_tokens": ("",)}, "is empty"),
        ({"user_tokens": ("<s>",)}, "'<s>' is the name of a built-in token"),
        ({"user_tokens": ("<0x41>",)}, "built-in"),
        ({"user_tokens": ("x", "x")}, "twice"),
        ({"user_tokens": ("<|user|>",)}, "among special_tokens"),
        ({"special_tokens": ("<|a|>", "<|a|>")}, "special_tokens: '<|a|>' stands there twice"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        TokenizerSettings(**{"vocab_size": 512, **settings})


def test_the_reserve_is_for_large_vocabularies():
    assert [TokenizerSettings(vocab_size=size).spare for size in (512, 16_384, 32_768, 65_536)] == [0, 0, 1024, 1024]
    assert TokenizerSettings(vocab_size=32_768, spare_tokens=0).spare == 0
    assert [TokenizerSettings(vocab_size=size).wants_gb2312(True) for size in (16_384, 32_768)] == [False, True]
    assert not TokenizerSettings(vocab_size=32_768).wants_gb2312(chinese=False)
