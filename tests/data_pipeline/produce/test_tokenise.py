"""The spool holds each document's tokens between BOS and EOS, whatever the order and the number of threads."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce.tokenise import TokenSpool
from maxlm.tokenizer.load import load_tokenizer


@pytest.fixture(scope="module")
def parts(prepared):
    return Corpus(prepared, 0.1), load_tokenizer(prepared / "tokenizer")


def texts_of(dataset):
    paths = sorted((dataset / "documents").glob("*.parquet"))
    return [text for path in paths for text in pq.read_table(path)["text"].to_pylist()]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_documents_come_back_as_they_were_encoded(prepared, parts, tmp_path, workers):
    corpus, tokenizer = parts
    spool = TokenSpool(corpus, tokenizer, np.dtype("<u2"), tmp_path, workers)
    order = np.array([50, 3, 3, 79, 0])
    assert spool.add(order) == spool.lengths(np.unique(order)).sum()
    assert spool.add(order[:2]) == 0  # they are there
    spool.add(np.array([4, 3]))
    texts, tokens = texts_of(prepared), spool.tokens()
    for ordinal in [*order, 4]:
        begin, length = spool.offsets(np.array([ordinal]))[0], spool.lengths(np.array([ordinal]))[0]
        expected = [tokenizer.bos_id, *tokenizer.encode(texts[ordinal]), tokenizer.eos_id]
        assert tokens[begin : begin + length].tolist() == expected
    spool.clear()
    assert len(spool.tokens()) == 0
    assert spool.add(np.array([3])) > 0
    assert os.listdir(tmp_path) == []  # the file has no name
    spool.close()


def test_work_can_be_ended_between_batches(parts, tmp_path):
    def check():
        raise KeyboardInterrupt

    corpus, tokenizer = parts
    spool = TokenSpool(corpus, tokenizer, np.dtype("<u2"), tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        spool.add(np.arange(len(corpus)), check)
    spool.close()
