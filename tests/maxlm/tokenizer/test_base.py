"""What every tokenizer promises: nothing of a text is lost, and no text becomes a special token."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maxlm.errors import DataError
from maxlm.tokenizer.base import digest_of, padded_rows
from tests import texts
from tests.maxlm.tokenizer.conftest import USER_TOKENS

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
TRAPS = [
    *" \t\n\r\u2581\u2585\u3000\ufeff\u200d\0ab0<s>/|中é",
    "<s>",
    "</s>",
    "<pad>",
    "<0x41>",
    "<|im_start|>",
    "👩\u200d👧",
    "e\u0301",
    *USER_TOKENS,
]
HARD = st.lists(st.sampled_from(TRAPS)).map("".join)


def comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
    assert not set(ids) & {*tokenizer.special.values(), tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id}
    assert max(ids, default=0) < tokenizer.num_pieces


@given(text=UNICODE)
@example("")
@example(" ")
@example("\n\n \t\r\n")
@example("\u2581 \u2581\u2581a\u2581")
@example("  <s></s><unk><pad><0x41>\0 ")
@example("👨‍👩‍👧‍👦 \ufe30 \u2028 \ufeffx 𠀀")
def test_any_text_survives(tokenizer, text):
    comes_back(tokenizer, text)


@given(text=HARD)
def test_text_made_of_traps_survives(tokenizer, text):
    comes_back(tokenizer, text)


@given(
    raw=st.one_of(st.binary(), HARD.map(str.encode), st.tuples(HARD, st.binary()).map(lambda t: t[0].encode() + t[1]))
)
@example(b"\xff\xfe")
@example("中".encode()[:2] + "文".encode() + b"\x80")
@example(b"\xed\xa0\x80")  # a surrogate, as no UTF-8 may hold it
def test_any_bytes_survive(tokenizer, raw):
    ids = tokenizer.encode_bytes(raw)
    assert tokenizer.decode_bytes(ids) == raw
    assert tokenizer.token_bytes()[ids].sum() == len(raw)


@given(text=HARD)
def test_bytes_of_a_text_are_the_text(tokenizer, text):
    assert tokenizer.encode_bytes(text.encode()) == tokenizer.encode(text)


def test_a_batch_is_its_texts_however_many_threads(tokenizer):
    documents = [text for _, text in texts.corpus(1)] + ["", "a\u2581b", "x<|im_end|>ai.listen.music"]
    expected = [tokenizer.encode(text) for text in documents]
    assert tokenizer.encode_batch(documents, num_threads=1) == expected
    assert tokenizer.encode_batch(documents, num_threads=3) == expected
    assert tokenizer.encode_batch([]) == []


def test_lone_surrogates_are_refused(tokenizer):
    for threads in (1, 2):
        with pytest.raises(DataError, match="lone surrogate"):
            tokenizer.encode_batch(["fine", "fine \ud800 not"], threads)


@pytest.mark.parametrize(
    "around", ["{}", "x{}y", "7{}8", "中{}文", " {} ", "({})", "{0}{0}", "\n{}\t", "-{}.", "_{}'s"]
)
@pytest.mark.parametrize("token", USER_TOKENS)
def test_user_tokens_are_one_token_wherever_they_stand(tokenizer, token, around):
    [i] = tokenizer.encode(token)
    text = around.format(token)
    ids = tokenizer.encode(text)
    assert ids.count(i) == text.count(token)
    assert tokenizer.decode(ids) == text


def test_of_user_tokens_the_longest_counts(tokenizer):
    assert tokenizer.decode(tokenizer.encode("ai.listen.musi")[:1]) == "ai.listen"
    assert len(tokenizer.encode("ai.listen.music")) == 1


def test_special_tokens_are_reached_by_name_and_no_text_becomes_them(tokenizer):
    names = ["<s>", "</s>", "<pad>", "<|fim_prefix|>", "<|im_start|>", "<|im_end|>", "<|system|>", "<|assistant|>"]
    assert set(names) <= set(tokenizer.special)
    assert [tokenizer.special[name] for name in names[:3]] == [tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id]
    for name in tokenizer.special:
        ids = tokenizer.encode(f"{name}user {name}")
        assert not set(ids) & set(tokenizer.special.values())
        assert tokenizer.decode(ids) == f"{name}user {name}"


def test_special_ids_and_rows_without_a_piece_stand_for_nothing(tokenizer):
    sizes = tokenizer.token_bytes()
    assert sizes.shape == (640,)
    assert sizes.dtype == np.int32
    assert (tokenizer.num_pieces, tokenizer.vocab_size) == (630, 640)
    silent = [*tokenizer.special.values(), *range(630, 640)]
    assert sizes[silent].sum() == 0
    assert (sizes > 0).sum() == 630 - len(tokenizer.special)
    assert [len(raw) for raw in tokenizer.pieces()] == sizes[:630].tolist()
    ids = tokenizer.encode("abc")
    assert tokenizer.decode([tokenizer.bos_id, *ids, 639, tokenizer.eos_id]) == "abc"


@pytest.mark.parametrize("wrong", [-1, 640])
def test_ids_outside_the_vocabulary_are_refused(tokenizer, wrong):
    with pytest.raises(ValueError, match="0 to 639"):
        tokenizer.decode([5, wrong])


def test_half_a_character_decodes_to_a_replacement(tokenizer):
    ids = tokenizer.encode("\U0001f9ff")
    assert "\ufffd" in tokenizer.decode(ids[:2])


def test_the_digest_is_of_the_model_and_its_rows(tokenizer):
    assert tokenizer.digest == digest_of(tokenizer.model, 640) != digest_of(tokenizer.model, 768)
    assert padded_rows(630) == padded_rows(640) == 640
    assert padded_rows(641) == 768


@given(documents=st.lists(st.one_of(UNICODE, HARD), max_size=5), bos=st.booleans(), eos=st.booleans())
def test_arrays_hold_the_same_ids(tokenizer, documents, bos, eos):
    arrays = tokenizer.encode_arrays([text.encode() for text in documents], bos=bos, eos=eos)
    for text, ids in zip(documents, arrays, strict=True):
        assert ids.dtype == np.int32
        assert ids.tolist() == [tokenizer.bos_id] * bos + tokenizer.encode(text) + [tokenizer.eos_id] * eos


def test_a_tokenizer_goes_to_another_process(tokenizer):
    copied = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301 -- as the producer's workers get it
    assert copied.digest == tokenizer.digest
    assert copied.encode("a 中 b") == tokenizer.encode("a 中 b")
