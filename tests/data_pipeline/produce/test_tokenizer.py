"""The tokenizer of a data set is trained on the mixture, without what is held out, and measured by domain."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from data_pipeline.config import TokenizerConfig
from data_pipeline.mix.config import MixtureConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce import producer, tokenizer
from maxlm.errors import ConfigError, DataError
from maxlm.tokenizer.spm import Tokenizer
from tests import texts
from tests.data_pipeline.produce import made


@pytest.fixture
def documents(tmp_path):
    made.write_documents(tmp_path, texts.corpus(documents=80))
    return tmp_path


def config(**tokenizer_config):
    changed = TokenizerConfig(**{"vocab_size": 512, **tokenizer_config})
    return dataclasses.replace(made.CONFIG, tokenizer=changed)


def test_it_is_trained_written_and_measured(documents):
    told = tokenizer.run(config(spare_tokens=8, user_tokens=("<|user|>",)), documents)
    found = Tokenizer.load(documents / "tokenizer")
    assert (found.vocab_size, found.num_pieces) == (512, 504)
    assert len(found.encode("<|user|>")) == 1
    assert json.loads((documents / "tokenizer/audit.json").read_text())["domains"] == told
    assert set(told) == {"code", "en", "zh"}
    for measured in told.values():
        assert measured["bytes_per_token"] == pytest.approx(measured["bytes"] / measured["tokens"], abs=1e-4)
        assert measured["chars_per_token"] <= measured["bytes_per_token"]
        assert 1 < measured["bytes_per_token"] < 20
    assert told["zh"]["chars_per_token"] < told["zh"]["bytes_per_token"] / 2


def test_the_same_documents_give_the_same_tokenizer(documents):
    digests = set()
    for _ in range(2):
        tokenizer.run(config(), documents)
        digests.add(Tokenizer.load(documents / "tokenizer").digest)
    assert len(digests) == 1


def test_the_sample_is_the_mixtures(documents):
    corpus = Corpus(documents, made.PRODUCE.holdout)
    sample = tokenizer.draw_sample(config(sample_bytes=9000), corpus)
    assert not corpus.held_out[sample].any()
    assert (np.diff(sample) > 0).all()
    sizes = Counter()
    for i in sample:
        sizes[corpus.domains[corpus.domain[i]]] += int(corpus.bytes[i])
    for name, share in made.MIXTURE.items():
        longest = corpus.bytes[corpus.domain == corpus.domains.index(name)].max()
        assert share * 9000 <= sizes[name] < share * 9000 + longest
    other = tokenizer.draw_sample(config(sample_bytes=9000, seed=1), corpus)
    assert other.tolist() != sample.tolist()


def test_without_a_mixture_all_text_is_taken(documents):
    corpus = Corpus(documents, made.PRODUCE.holdout)
    everything = dataclasses.replace(config(), mixture=MixtureConfig())
    assert tokenizer.draw_sample(everything, corpus).tolist() == np.flatnonzero(~corpus.held_out).tolist()


def test_mistakes_are_named(documents, tmp_path):
    with pytest.raises(DataError, match=r"asks for 65536: set config\.tokenizer\.vocab_size to at most \d+"):
        tokenizer.run(config(vocab_size=65536), documents)
    assert not (documents / "tokenizer").exists()
    with pytest.raises(ConfigError, match="no documents of domain 'math'"):
        tokenizer.run(dataclasses.replace(config(), mixture=MixtureConfig(shares={"math": 1.0})), documents)
    with pytest.raises(DataError, match="run maxlm-data ingest"):
        tokenizer.run(config(), tmp_path / "nothing")


def test_the_tokenizer_of_finished_blocks_is_not_replaced(documents):
    tokenizer.run(config(), documents)
    before = Tokenizer.load(documents / "tokenizer").digest
    producer.run(made.config(num_blocks=1), documents)
    tokenizer.run(config(), documents)  # the same again is fine
    with pytest.raises(DataError, match="blocks were made with the tokenizer that stands here"):
        tokenizer.run(config(vocab_size=640), documents)
    assert Tokenizer.load(documents / "tokenizer").digest == before
