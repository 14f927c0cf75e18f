"""The tokenizer of a data set is trained on the mixture, without what is held out, and audited."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest

from data_pipeline.mix.config import MixtureConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce import producer
from data_pipeline.tokenizer import sample, stage
from data_pipeline.tokenizer.config import TokenizerConfig
from maxlm.errors import ConfigError, DataError
from maxlm.tokenizer.load import load_tokenizer
from tests import texts
from tests.data_pipeline.produce import made


@pytest.fixture
def documents(tmp_path):
    made.write_documents(tmp_path, texts.corpus(documents=80))
    return tmp_path


def config(**tokenizer_config):
    changed = TokenizerConfig(**{"vocab_size": 512, **tokenizer_config})
    return dataclasses.replace(made.CONFIG, tokenizer=changed)


@pytest.mark.parametrize("kind", ["sentencepiece", "bytelevel"])
def test_it_is_trained_written_and_audited(documents, kind):
    told = stage.run(config(kind=kind, spare_tokens=8, user_tokens=("<|topic|>",)), documents)
    found = load_tokenizer(documents / "tokenizer")
    assert (found.kind, found.vocab_size, found.num_pieces) == (kind, 512, 504)
    assert len(found.encode("<|topic|>")) == 1
    assert json.loads((documents / "tokenizer/audit.json").read_text()) == told
    assert told["findings"] == []
    measured = told["compression"]["this"]["domains"]
    assert set(measured) == {"code", "en", "zh"}
    for row in measured.values():
        assert row["bytes_per_token"] == pytest.approx(row["bytes"] / row["tokens"], abs=1e-4)
        assert row["chars_per_token"] <= row["bytes_per_token"]
        assert 1 < row["bytes_per_token"] < 20
    assert measured["zh"]["chars_per_token"] < measured["zh"]["bytes_per_token"] / 2


def test_the_same_documents_give_the_same_tokenizer(documents):
    digests = set()
    for _ in range(2):
        stage.run(config(), documents)
        digests.add(load_tokenizer(documents / "tokenizer").digest)
    assert len(digests) == 1


def test_the_sample_is_the_mixtures(documents):
    corpus = Corpus(documents, made.PRODUCE.holdout)
    chosen = sample.to_train(config(sample_bytes=9000), corpus)
    assert not corpus.held_out[chosen].any()
    assert (np.diff(chosen) > 0).all()
    sizes = Counter()
    for i in chosen:
        sizes[corpus.domains[corpus.domain[i]]] += int(corpus.bytes[i])
    for name, share in made.MIXTURE.items():
        longest = corpus.bytes[corpus.domain == corpus.domains.index(name)].max()
        assert share * 9000 <= sizes[name] < share * 9000 + longest
    other = sample.to_train(config(sample_bytes=9000, seed=1), corpus)
    assert other.tolist() != chosen.tolist()


def test_without_a_mixture_all_text_is_taken(documents):
    corpus = Corpus(documents, made.PRODUCE.holdout)
    everything = dataclasses.replace(config(), mixture=MixtureConfig())
    assert sample.to_train(everything, corpus).tolist() == np.flatnonzero(~corpus.held_out).tolist()


def test_it_is_measured_on_what_it_has_not_seen(documents):
    corpus = Corpus(documents, made.PRODUCE.holdout)
    trained = sample.to_train(config(), corpus)
    measured = sample.to_measure(corpus, trained, seed=0)
    assert corpus.held_out[measured].all()
    assert set(corpus.domain[measured]) == set(range(3))
    nothing_held_out = Corpus(documents, 0.0)
    some = np.arange(0, len(corpus), 3)
    assert not set(sample.to_measure(nothing_held_out, some, seed=0)) & set(some)
    assert len(sample.to_measure(nothing_held_out, np.arange(len(corpus)), seed=0)) == len(corpus)


def test_languages_are_the_documents(documents):
    corpus = Corpus(documents, 0.1)
    names, index = sample.languages(corpus)
    assert [names[i] for i in index] == [corpus.domains[i] for i in corpus.domain]
    assert sample.is_chinese(corpus)
    corpus.bytes = np.where(index == names.index("zh"), 1, 1000)
    assert not sample.is_chinese(corpus)


def test_mistakes_are_named(documents, tmp_path):
    with pytest.raises(DataError, match=r"asks for 65536: set config\.tokenizer\.vocab_size to at most \d+"):
        stage.run(config(vocab_size=65536, spare_tokens=0, characters="none"), documents)
    assert not (documents / "tokenizer").exists()
    with pytest.raises(ConfigError, match="no documents of domain 'math'"):
        stage.run(dataclasses.replace(config(), mixture=MixtureConfig(shares={"math": 1.0})), documents)
    with pytest.raises(DataError, match="run maxlm-data ingest"):
        stage.run(config(), tmp_path / "nothing")
    with pytest.raises(DataError, match="maxlm-data tokenizer trains"):
        stage.run_audit(config(), documents)
    with pytest.raises(ConfigError, match="sample_bytes: 0"):
        config(sample_bytes=0)


def test_the_tokenizer_of_finished_blocks_is_not_replaced(documents):
    stage.run(config(), documents)
    before = load_tokenizer(documents / "tokenizer").digest
    producer.run(made.config(num_blocks=1), documents)
    stage.run(config(), documents)  # the same again is fine
    with pytest.raises(DataError, match="blocks were made with the tokenizer that stands here"):
        stage.run(config(vocab_size=640), documents)
    assert load_tokenizer(documents / "tokenizer").digest == before


def test_blocks_of_a_byte_level_tokenizer(documents):
    stage.run(config(kind="bytelevel"), documents)
    assert producer.run(made.config(num_blocks=1), documents) == 1
    tokens, _ = made.block_tokens(documents, 0)
    tokenizer = load_tokenizer(documents / "tokenizer")
    first = tokens[: int(np.flatnonzero(tokens == tokenizer.eos_id)[0])].tolist()
    corpus = Corpus(documents, made.PRODUCE.holdout)
    assert tokenizer.decode(first) in set(sample.texts(corpus, np.arange(len(corpus))))
