"""The spool holds each document's tokens between BOS and EOS, whatever the order and the number of threads."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_pipeline.mix.corpus import Corpus, Texts
from data_pipeline.produce.tokenise import TokenSpool, encode_batches
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


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_documents_come_back_as_they_were_encoded(prepared, parts, tmp_path, workers):
    corpus, tokenizer = parts
    spool = TokenSpool(corpus, tokenizer, np.dtype("<u2"), tmp_path, workers)
    lengths, prompts = spool.add(np.array([0, 3, 50, 79]))
    spool.add(np.array([4, 60]))
    texts = texts_of(prepared)
    order = np.array([79, 4, 0, 50, 3, 3, 60])
    for ordinal, begin, length, prompt in zip(order, *spool.find(order), strict=True):
        expected = [tokenizer.bos_id, *tokenizer.encode(texts[ordinal]), tokenizer.eos_id]
        assert tokens_of(spool, begin, length) == expected
        assert tokens_of(spool, begin + 1, 1) == expected[1:2]
        assert prompt == 0
    assert (spool.find(np.array([0, 3, 50, 79]))[1:] == [lengths, prompts]).all()
    spool.clear()
    with pytest.raises(OSError, match="the tokens of a block end before 1"):
        tokens_of(spool, 0, 1)
    with pytest.raises(KeyError):
        spool.find(np.array([3]))
    spool.add(np.array([3]))
    assert spool.find(np.array([3]))[1, 0] > 0
    assert os.listdir(tmp_path) == []  # the file has no name
    spool.close()


def test_a_prompt_ends_between_two_tokens(parts):
    _, tokenizer = parts
    texts = ["the cat sat", "plain text", "你好吗？我很好", "", "x"]
    prompts = [len("the ca"), 0, len("你好吗？".encode()), 0, 1]
    batch = Texts(np.arange(5), [text.encode() for text in texts], np.array(prompts))
    (encoded,) = encode_batches(tokenizer, [batch], 1)
    ends = np.cumsum(encoded.lengths)
    for i, (text, prompt) in enumerate(zip(texts, prompts, strict=True)):
        ids = encoded.tokens[ends[i] - encoded.lengths[i] : ends[i]].tolist()
        head, tail = text.encode()[:prompt].decode(), text.encode()[prompt:].decode()
        assert ids == [tokenizer.bos_id, *tokenizer.encode(head), *tokenizer.encode(tail), tokenizer.eos_id]
        assert encoded.prompts[i] == (1 + len(tokenizer.encode(head)) if prompt else 0)
        assert tokenizer.decode(ids) == text


def test_work_can_be_ended_between_batches(parts, tmp_path):
    def check():
        raise KeyboardInterrupt

    corpus, tokenizer = parts
    spool = TokenSpool(corpus, tokenizer, np.dtype("<u2"), tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        spool.add(np.arange(len(corpus)), check)
    spool.close()
