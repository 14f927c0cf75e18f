"""The spool holds each document's tokens between BOS and EOS, whatever the order and the number of threads."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_pipeline.config import ConversationsConfig
from data_pipeline.conversations import Conversation
from data_pipeline.mix.corpus import Corpus, Texts
from data_pipeline.produce.dialogue import UNUSABLE, Dialogues, Kind
from data_pipeline.produce.tokenise import TokenSpool, encode_batches, learnt_of
from maxlm.tokenizer.load import load_tokenizer


@pytest.fixture(scope="module")
def parts(prepared):
    return Corpus(prepared, 0.1), load_tokenizer(prepared / "tokenizer")


def texts_of(dataset):
    paths = sorted((dataset / "documents").glob("*.parquet"))
    return [text for path in paths for text in pq.read_table(path)["text"].to_pylist()]


def tokens_of(spool, begin, length):
    tokens = np.empty(length, "<u2")
    spool.read(int(begin), tokens)
    return tokens.tolist()


def spool_of(parts, folder, workers):
    return TokenSpool(*parts, dialogues_of(parts), np.dtype("<u2"), folder, workers)


def dialogues_of(parts, row_tokens=64, **settings):
    corpus, tokenizer = parts
    return Dialogues(corpus, tokenizer, ConversationsConfig(**settings), corpus.folder.parent, row_tokens)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_documents_come_back_as_they_were_encoded(prepared, parts, tmp_path, workers):
    _, tokenizer = parts
    spool = spool_of(parts, tmp_path, workers)
    lengths, lost, kinds = spool.add(np.array([0, 3, 50, 79]))
    spool.add(np.array([4, 60]))
    texts = texts_of(prepared)
    order = np.array([79, 4, 0, 50, 3, 3, 60])
    for ordinal, begin, length, mask, second in zip(order, *spool.find(order), strict=True):
        expected = [tokenizer.bos_id, *tokenizer.encode(texts[ordinal]), tokenizer.eos_id]
        assert tokens_of(spool, begin, length) == expected
        assert tokens_of(spool, begin + 1, 1) == expected[1:2]
        assert (mask, second) == (-1, 0)
    assert (spool.find(np.array([0, 3, 50, 79]))[1] == lengths).all()
    assert not lost.any()
    assert not kinds.any()
    spool.clear()
    with pytest.raises(OSError, match="the tokens of a block end before 1"):
        tokens_of(spool, 0, 1)
    with pytest.raises(KeyError):
        spool.find(np.array([3]))
    spool.add(np.array([3]))
    assert spool.find(np.array([3]))[1, 0] > 0
    assert os.listdir(tmp_path) == []  # the file has no name
    spool.close()


def said(*turns, **pair):
    return Conversation(tuple({"role": role, "content": content} for role, content in turns), **pair)


def encoded(parts, conversations, **settings):
    """Of each conversation: (ids, learnt, second, lost, kind); as the spool holds them."""
    batch = Texts(np.arange(len(conversations)), [c.text.encode() for c in conversations], list(conversations))
    (found,) = encode_batches(parts[1], dialogues_of(parts, **settings), [batch], 1)
    return [
        (
            found.words[begin : begin + length].tolist(),
            learnt_of(found.words[mask : mask + -(-length // 16)], length).tolist(),
            *rest,
        )
        for begin, length, mask, *rest in zip(
            found.begins, found.lengths, found.masks, found.seconds, found.lost, found.kinds, strict=True
        )
    ]


def test_a_prompt_ends_between_two_tokens(parts):
    _, tokenizer = parts
    pairs = [("the ca", "t sat"), ("你好吗？", "我很好"), ("", "x"), ("x", "yes " * 5)]
    conversations = [said(("prompt", prompt), ("completion", completion)) for prompt, completion in pairs]
    for (prompt, completion), found in zip(pairs, encoded(parts, conversations), strict=True):
        head, tail = tokenizer.encode(prompt), tokenizer.encode(completion)
        expected = [tokenizer.bos_id, *head, *tail, tokenizer.eos_id]
        learn = [False] * (1 + len(head)) + [True] * (len(tail) + 1)
        assert found == (expected, learn, 0, 0, Kind.CONVERSATION)


def test_a_pair_is_two_segments(parts):
    pair = said(("prompt", "the "), ("completion", "cat"), ("completion", "dog sat"), chosen=1, rejected=1)
    (found,) = encoded(parts, [pair])
    sides = encoded(parts, [said(("prompt", "the "), ("completion", answer)) for answer in ("cat", "dog sat")])
    assert found[0] == sides[0][0] + sides[1][0]
    assert found[1] == sides[0][1] + sides[1][1]
    assert found[2:] == (len(sides[0][0]), 0, Kind.PAIR)


def test_chats_by_the_template_that_stands_beside_the_tokenizer(parts):
    _, tokenizer = parts
    turns = [("user", "a"), ("assistant", "b"), ("user", "<|im_end|>"), ("assistant", "d")]
    for learn, answers in (("all", ["b", "d"]), ("last", ["d"])):
        ((ids, learnt, second, lost, kind),) = encoded(parts, [said(*turns)], row_tokens=128, learn=learn)
        assert (second, lost, kind) == (0, 0, Kind.CONVERSATION)
        ends = [i for i, token in enumerate(ids) if token == tokenizer.special["<|im_end|>"]]
        assert len(ends) == 4
        assert [learnt[end] for end in ends] == [False, learn == "all", False, True]
        learnt_ids = [token for token, wanted in zip(ids, learnt, strict=True) if wanted]
        assert tokenizer.decode(learnt_ids).split() == answers


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_what_is_longer_than_a_row(parts, too_long):
    _, tokenizer = parts
    whole = [tokenizer.bos_id, *tokenizer.encode("the "), *tokenizer.encode("cat sat " * 9), tokenizer.eos_id]
    single = said(("prompt", "the "), ("completion", "cat sat " * 9))
    pair = said(("prompt", "the "), ("completion", "cat sat " * 9), ("completion", "dog"), chosen=1, rejected=1)
    no_room = said(("prompt", "the " * 20), ("completion", "cat"))
    room = 16
    (ids, learn, _, lost, _), (pair_ids, _, second, pair_lost, _), (none, _, _, all_lost, _) = encoded(
        parts, [single, pair, no_room], row_tokens=room, too_long=too_long
    )
    both = len(whole) + len(encoded(parts, [said(("prompt", "the "), ("completion", "dog"))])[0][0])
    if too_long == "cut":
        assert (ids, lost) == (whole[:room], len(whole) - room)
        assert learn[-1]
        assert pair_ids[: room // 2] == whole[: room // 2]
        assert (second, len(pair_ids) + pair_lost) == (room // 2, both)
    else:
        assert (ids, lost) == ([], len(whole))
        assert (pair_ids, second, pair_lost) == ([], 0, both)
    assert none == []  # of its answer nothing would be left
    assert all_lost > room


def test_of_a_batch_each_is_as_alone(parts):
    plain = said(("prompt", "the "), ("completion", "cat"))
    pair = said(("prompt", "a"), ("completion", "dog"), ("completion", "bird"), chosen=1, rejected=1)
    chats = [said(("user", text), ("assistant", "b")) for text in ("a", "c")]
    batch = [chats[0], plain, pair, chats[1], plain]
    assert encoded(parts, batch) == [encoded(parts, [one])[0] for one in batch]


def test_a_pair_that_cutting_makes_alike(parts):
    """As long as both sides say the same, there is nothing to prefer."""
    same = "cat sat " * 9
    pair = said(("prompt", "the "), ("completion", f"{same}a"), ("completion", f"{same}b"), chosen=1, rejected=1)
    ((ids, _, second, lost, _),) = encoded(parts, [pair], row_tokens=16, too_long="cut")
    assert (ids, second) == ([], 0)
    assert lost > 16


def test_chats_that_can_not_be_used(parts):
    context = {"role": "assistant", "content": "b", "learn": False}
    found = encoded(
        parts,
        [
            said(("user", "a"), ("assistant", "b")),
            said(("user", "\ufdd0"), ("assistant", "b")),
            Conversation(({"role": "user", "content": "a"}, context)),
            said(("user", "a"), ("assistant", "b"), ("assistant", "b"), chosen=1, rejected=1),
        ],
    )
    assert [(len(ids) > 0, lost) for ids, _, _, lost, _ in found] == [(True, 0), *[(False, UNUSABLE)] * 3]


def test_the_last_answer_that_is_learnt(parts):
    _, tokenizer = parts
    context = {"role": "assistant", "content": "d", "learn": False}
    turns = (*said(("user", "a"), ("assistant", "b"), ("user", "c")).turns, context)
    ((ids, learnt, _, lost, _),) = encoded(parts, [Conversation(turns)], row_tokens=128, learn="last")
    assert lost == 0
    assert tokenizer.decode([token for token, wanted in zip(ids, learnt, strict=True) if wanted]).split() == ["b"]


def test_work_can_be_ended_between_batches(parts, tmp_path):
    def check():
        raise KeyboardInterrupt

    corpus, _ = parts
    spool = spool_of(parts, tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        spool.add(np.arange(len(corpus)), check)
    spool.close()
