"""Text as it is shown while it is written: the pieces make up the whole, and nothing of a stop string is seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.generate.text import Continuation
from maxlm.tokenizer.settings import TokenizerSettings
from maxlm.tokenizer.train import train_model


@pytest.fixture(scope="module")
def tokenizer():
    words = "the quick brown fox jumps over the lazy dog while numbers 0123456789 pass by\n" * 20
    return train_model(iter([words]), TokenizerSettings(vocab_size=384, spare_tokens=60))


def _shown(tokenizer, ids, stop=()) -> tuple[list[str], Continuation]:
    continuation = Continuation(tokenizer, stop)
    return [*[continuation.add(token) for token in ids], continuation.finish()], continuation


@given(
    text=st.text(alphabet="ab\n é中😀", max_size=30),
    stop=st.lists(st.text("ab\n 中", min_size=1, max_size=4), max_size=3),
)
def test_ends_before_the_first_stop_string(tokenizer, text, stop):
    pieces, continuation = _shown(tokenizer, tokenizer.encode(text), stop)
    # Of several that come with the same token the one that begins first counts; so the text holds none of them.
    assert continuation.text == "".join(pieces)
    assert text.startswith(continuation.text)
    assert not any(one in continuation.text for one in stop)
    left = text[len(continuation.text) :]
    assert not left or any(left.startswith(one) for one in stop)


def test_characters_appear_whole(tokenizer):
    ids = tokenizer.encode("中😀")
    assert len(ids) == 7  # bytes
    assert _shown(tokenizer, ids)[0] == ["", "", "中", "", "", "", "😀", ""]
    assert _shown(tokenizer, ids[:-1])[0][-1] == "\ufffd"


def test_what_may_become_a_stop_string_waits(tokenizer):
    pieces, continuation = _shown(tokenizer, tokenizer.encode("a#b##c"), ["##"])
    assert "".join(pieces) == continuation.text == "a#b"
    assert pieces[tokenizer.encode("a#b##c").index(tokenizer.encode("#")[0])] == ""


def test_a_special_token_by_its_name(tokenizer):
    ids = [*tokenizer.encode("the"), tokenizer.special["<|im_end|>"], *tokenizer.encode("fox")]
    assert _shown(tokenizer, ids, ["<|im_end|>"])[1].text == "the"
    assert _shown(tokenizer, ids, ["<|im_start|>"])[1].text == "thefox"


def test_eos_ends(tokenizer):
    pieces, continuation = _shown(tokenizer, [*tokenizer.encode("the"), tokenizer.eos_id, *tokenizer.encode("fox")])
    assert (continuation.text, continuation.ended) == ("the", True)
    assert "".join(pieces) == "the"
