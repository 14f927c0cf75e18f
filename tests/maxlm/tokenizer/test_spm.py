"""Loading, encoding, decoding; nothing of a text is lost, and no text becomes a control token."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maxlm.errors import DataError
from maxlm.tokenizer.spm import Tokenizer, digest_of, padded_rows
from maxlm.tokenizer.train import train
from tests import texts

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
TRAPS = [
    *" \t\n\r\u2581\u2585\u3000\ufeff\u200d\0ab0<s>/|中é",
    "<s>",
    "</s>",
    "<pad>",
    "<0x41>",
    "👩\u200d👧",
    "e\u0301",
]
HARD = st.lists(st.sampled_from(TRAPS)).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    documents = (text for _, text in texts.corpus(documents=120))
    train(documents, folder, vocab_size=640, spare_tokens=10, user_tokens=("<|user|>",))
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.load(folder)


@given(text=UNICODE)
@example("")
@example(" ")
@example("\n\n \t\r\n")
@example("\u2581 \u2581\u2581a\u2581")
@example("  <s></s><unk><pad><0x41>\0 ")
@example("👨‍👩‍👧‍👦 \ufe30 \u2028 \ufeffx 𠀀")
def test_any_text_survives(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())


@given(text=HARD)
def test_text_made_of_traps_survives(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.token_bytes()[ids].sum() == len(text.encode())
    assert not set(ids) & {tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id}
    assert max(ids, default=0) < tokenizer.num_pieces


def test_a_batch_is_its_texts_however_many_threads(tokenizer):
    documents = [text for _, text in texts.corpus(1)] + ["", "a\u2581b"]
    expected = [tokenizer.encode(text) for text in documents]
    assert tokenizer.encode_batch(documents, num_threads=1) == expected
    assert tokenizer.encode_batch(documents, num_threads=3) == expected
    assert tokenizer.encode_batch([]) == []


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


def test_lone_surrogates_are_refused(tokenizer):
    with pytest.raises(DataError, match="lone surrogate"):
        tokenizer.encode("fine \ud800 not")


def test_user_tokens_are_one_token(tokenizer):
    ids = tokenizer.encode("a<|user|>b <|user|>")
    assert ids.count(tokenizer.encode("<|user|>")[0]) == 2


def test_special_ids_and_rows_without_a_piece_stand_for_nothing(tokenizer):
    sizes = tokenizer.token_bytes()
    assert sizes.shape == (640,)
    assert sizes.dtype == np.int32
    assert tokenizer.num_pieces == 630
    special = [tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, *range(630, 640)]
    assert sizes[special].sum() == 0
    assert (sizes > 0).sum() == 630 - 4
    ids = tokenizer.encode("abc")
    assert tokenizer.decode([tokenizer.bos_id, *ids, 639, tokenizer.eos_id]) == "abc"


@pytest.mark.parametrize("wrong", [-1, 640])
def test_ids_outside_the_vocabulary_are_refused(tokenizer, wrong):
    with pytest.raises(ValueError, match="0 to 639"):
        tokenizer.decode([5, wrong])


def test_half_a_character_decodes_to_a_replacement(tokenizer):
    ids = tokenizer.encode("\U0001f9ff")
    assert "\ufffd" in tokenizer.decode(ids[:2])


def test_the_digest_tells_tokenizers_apart(folder, tokenizer):
    model = (folder / "tokenizer.model").read_bytes()
    assert (
        tokenizer.digest == digest_of(model, 640) == json.loads((folder / "tokenizer_info.json").read_text())["digest"]
    )
    assert Tokenizer(model, 768).digest != tokenizer.digest
    assert Tokenizer.load(folder / "tokenizer.model").digest == tokenizer.digest


def test_a_bare_model_file_is_padded_to_whole_tiles(folder, tmp_path):
    bare = tmp_path / "x.model"
    bare.write_bytes((folder / "tokenizer.model").read_bytes())
    assert Tokenizer.load(bare).vocab_size == 640 == padded_rows(630)


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_damaged_model_is_named(folder, tmp_path, keep):
    raw = (folder / "tokenizer.model").read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(raw[:keep])
    with pytest.raises(DataError, match=r"tokenizer\.model: (damaged|the file is empty)"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer_info.json").write_bytes((folder / "tokenizer_info.json").read_bytes())
    with pytest.raises(DataError, match=r"not the model that tokenizer_info\.json beside it describes"):
        Tokenizer.load(tmp_path)


def test_a_missing_model_names_the_command(tmp_path):
    with pytest.raises(DataError, match=r"tokenizer\.model: no such file; maxlm-data tokenizer trains"):
        Tokenizer.load(tmp_path)


def test_too_many_pieces_for_the_rows(folder):
    with pytest.raises(DataError, match="630 pieces do not fit into 512 rows"):
        Tokenizer((folder / "tokenizer.model").read_bytes(), 512)
