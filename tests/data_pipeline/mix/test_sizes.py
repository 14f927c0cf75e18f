"""Sizes in tokens come out as if everything had been encoded, to a few per cent."""

import numpy as np

from data_pipeline.mix import sizes
from data_pipeline.mix.corpus import Corpus
from maxlm.tokenizer.load import load_tokenizer
from tests import texts
from tests.data_pipeline.produce import made


def whole(corpus, tokenizer):
    """Bytes per token of each domain, every document encoded."""
    tokens = np.zeros(len(corpus))
    for ordinals, part in corpus.texts(np.arange(len(corpus))):
        tokens[ordinals] = [len(tokenizer.encode(text)) + 2 for text in part]
    size = len(corpus.domains)
    return np.bincount(corpus.domain, corpus.bytes, size) / np.bincount(corpus.domain, tokens, size)


def test_a_small_corpus_is_measured_almost_whole(prepared):
    corpus, tokenizer = Corpus(prepared, 0.0), load_tokenizer(prepared / "tokenizer")
    np.testing.assert_allclose(sizes.domain_ratios(corpus, tokenizer), whole(corpus, tokenizer), rtol=0.03)


def test_long_documents_count_for_what_they_weigh(prepared, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    short = [("en", "x9 " * int(rng.integers(5, 20))) for _ in range(60)]  # two bytes a token at best
    made.write_documents(tmp_path, [*short, ("en", texts.english(rng, 3000)), ("zh", texts.chinese(rng, 400))])
    corpus, tokenizer = Corpus(tmp_path, 0.0), load_tokenizer(prepared / "tokenizer")
    expected = whole(corpus, tokenizer)
    np.testing.assert_allclose(sizes.domain_ratios(corpus, tokenizer), expected, rtol=0.05)
    monkeypatch.setattr(sizes, "_ROW_GROUPS", 1)  # what a sample lacks has a guess
    assert sizes.domain_ratios(corpus, tokenizer)[1] == 4.0
