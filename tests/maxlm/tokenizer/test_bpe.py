"""Byte-pair encoding held against SentencePiece's and Hugging Face's own, on vocabularies that nobody would train."""

import io

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from maxlm.tokenizer import bpe
from maxlm.tokenizer.spm_proto import NORMAL, Model

WORDS = st.text("ab", max_size=14)
PIECES = st.lists(st.text("ab", min_size=2, max_size=6), unique=True, max_size=12)


def sentencepiece_of(pieces):
    """A SentencePiece model of these pieces, in this order of rank."""
    raw = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab"]), model_writer=raw, vocab_size=280, model_type="bpe", minloglevel=2,
        hard_vocab_limit=False, byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False,
    )  # fmt: skip
    bare = Model(Model(raw.getvalue()).without({"ab"}, 1000))
    assert {piece for piece in bare.of_type(NORMAL) if len(piece) > 1} == set()
    return bare.extended(merge=pieces)


@given(pieces=PIECES, words=st.lists(WORDS, min_size=1, max_size=8))
def test_one_merge_a_piece_is_all_that_sentencepiece_does(pieces, words):
    """Any vocabulary, any order: SentencePiece, our loop, and `tokenizers` with one merge for each piece agree."""
    raw = sentencepiece_of(pieces)
    processor = sentencepiece.SentencePieceProcessor(model_proto=raw)
    model = Model(raw)
    vocab = {piece: i for i, (piece, _) in enumerate(model.pieces)}
    theirs = Tokenizer(models.BPE(vocab=vocab, merges=model.merges(), unk_token="<unk>", byte_fallback=True))
    for word in words:
        ids = processor.encode(word)
        assert [vocab[piece] for piece in bpe.encode(word, model.rank())[0]] == ids
        assert theirs.encode(word).ids == ids
    made = {left + right for left, right in model.merges()}
    for piece in pieces:  # a piece has a merge if, and only if, its own string becomes it
        assert (processor.encode(piece) == [vocab[piece]]) == (piece in made)


@given(pieces=PIECES, words=st.lists(WORDS, min_size=1, max_size=8))
def test_pieces_that_nothing_becomes_may_go(pieces, words):
    rank = bpe.by_string({piece: i for i, piece in enumerate(pieces)})
    made = bpe.merges_of(pieces, rank)
    fewer = bpe.by_string({piece: i for i, piece in enumerate(pieces) if piece in made})
    for word in words:
        assert bpe.encode(word, rank)[0] == bpe.encode(word, fewer)[0]


@given(
    pieces=PIECES, new=st.lists(st.text("ab", min_size=2, max_size=9), min_size=1, max_size=3), words=st.lists(WORDS)
)
def test_merges_behind_all_others_hide_nothing(pieces, new, words):
    merges = list(bpe.merges_of(pieces, bpe.by_string({piece: i for i, piece in enumerate(pieces)})).values())
    ranks = bpe.ranked(merges)
    chains = [bpe.chain(piece, ranks) for piece in new]
    assert list(ranks) == [*merges, *[merge for chain in chains for merge in chain]]
    for piece in [*map("".join, merges), *new]:
        assert bpe.encode(piece, bpe.by_pair(ranks))[0] == [piece]
    for word in words:  # the old encoding, with some neighbours joined
        before, after = bpe.encode(word, bpe.by_pair(bpe.ranked(merges)))[0], bpe.encode(word, bpe.by_pair(ranks))[0]
        ends = lambda parts: {len("".join(parts[: k + 1])) for k in range(len(parts))}  # noqa: E731
        assert ends(after) <= ends(before)


def test_repeats_within_a_token():
    """The first merge of abab is made twice, so that the second must join what the first made."""
    ranks: dict[bpe.Merge, int] = {}
    assert bpe.chain("abab", ranks) == [("a", "b"), ("ab", "ab")]


@pytest.mark.parametrize(("word", "expected"), [("", []), ("a", ["a"]), ("aaa", ["aa", "a"]), ("aaaa", ["aaaa"])])
def test_of_equal_merges_the_leftmost(word, expected):
    assert bpe.encode(word, bpe.by_string({"aa": 0, "aaaa": 1}))[0] == expected
