"""Blocks hold what the config asks for, to the token, and the same ones however they came about."""

import dataclasses
import json
import shutil
import threading
import time
from collections import Counter

import numpy as np
import pytest

from data_pipeline.mix.config import FilterConfig, MixtureConfig, OrderConfig, ScoreRangeConfig, StageConfig
from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce import producer
from maxlm.blocks.format import PADDING_DOMAIN
from maxlm.blocks.reader import BlockStore, ReaderPosition, report_progress
from maxlm.errors import ConfigError, DataError
from maxlm.journal import Journal
from maxlm.tokenizer.load import load_tokenizer
from tests import texts
from tests.data_pipeline.produce import made

CAPACITY = made.ROWS * (made.SEQ_LEN + 1)


def documents_in(dataset, block, blocks="blocks"):
    """(domain, text) of every document that a block holds whole."""
    tokens, domains = made.block_tokens(dataset, block, blocks)
    tokenizer, names = load_tokenizer(dataset / "tokenizer"), BlockStore(dataset).info.domains
    begins = np.flatnonzero(tokens == tokenizer.bos_id)
    found = []
    for begin, end in zip(begins, [*begins[1:], len(tokens)], strict=True):
        if tokens[end - 1] == tokenizer.eos_id:
            found.append((names[domains[begin]], tokenizer.decode(tokens[begin:end].tolist())))
    return found


def corpus_texts(dataset):
    """(domain, text) of all documents by ordinal, and which are held out."""
    corpus = Corpus(dataset, made.PRODUCE.holdout)
    found = [text for _, part in corpus.texts(np.arange(len(corpus))) for text in part]
    return [(corpus.domains[d], text) for d, text in zip(corpus.domain, found, strict=True)], corpus.held_out


def test_shares_are_exact_to_the_token(produced):
    store = BlockStore(produced)
    assert store.finished() == [0, 1, 2, 3]
    for block in store.finished():
        manifest = store.verify(block)
        assert manifest.domain_tokens == {"code": 2458, "en": 4096, "zh": 1638}  # 8192 by 0.3, 0.5, 0.2
        assert manifest.account.written == CAPACITY
        assert manifest.account.padded == 0
        _, domains = made.block_tokens(produced, block)
        assert Counter(domains.tolist()) == {0: 2458, 1: 4096, 2: 1638}


def test_blocks_hold_the_documents_that_the_journal_names(produced):
    documents, _ = corpus_texts(produced)
    ledger = made.open_ledger(produced)
    for block in range(4):
        named = Counter(documents[i] for i in ledger.documents(block))
        whole = Counter(documents_in(produced, block))
        assert not whole - named
        assert (named - whole).total() <= 3  # the last one of each domain is cut
        manifest = BlockStore(produced).manifest(block)
        assert manifest.documents == len(ledger.documents(block))
        assert manifest.selection[1] - manifest.selection[0] == manifest.documents


def test_held_out_documents_stand_in_the_validation_block_and_nowhere_else(produced):
    documents, held_out = corpus_texts(produced)
    ledger = made.open_ledger(produced)
    assert held_out.sum() >= 3
    for block in range(4):
        assert not held_out[ledger.documents(block)].any()
    kept_apart = {documents[i] for i in np.flatnonzero(held_out)}
    assert {documents[i] for i in np.flatnonzero(~held_out)}.isdisjoint(kept_apart)
    assert set(documents_in(produced, 0, "validation")) <= kept_apart
    store = BlockStore(produced, "validation")
    manifest = store.verify(0)
    assert set(manifest.domain_tokens) == {"code", "en", "zh"}
    assert manifest.rows % made.PRODUCE.row_multiple == 0
    assert manifest.account.written <= made.PRODUCE.holdout_tokens + 3 * 64
    tokens, domains = made.block_tokens(produced, 0, "validation")
    assert (domains == PADDING_DOMAIN).sum() == manifest.account.padded
    assert (tokens[domains == PADDING_DOMAIN] == load_tokenizer(produced / "tokenizer").pad_id).all()


def test_uses_are_those_of_the_blocks(produced):
    uses = made.open_ledger(produced).uses()
    assert (uses == made.counted(produced)).all()
    manifests = [BlockStore(produced).manifest(block) for block in range(4)]
    assert uses.sum() == sum(manifest.documents for manifest in manifests)


def test_documents_of_a_domain_are_used_evenly(produced):
    """Used more is chosen less: within a domain, uses never differ by more than one."""
    corpus = Corpus(produced, made.PRODUCE.holdout)
    uses = made.open_ledger(produced).uses()
    for domain in range(3):
        of_domain = uses[(corpus.domain == domain) & ~corpus.held_out]
        assert of_domain.max() - of_domain.min() <= 1
    assert uses.max() > 1  # the blocks took more than there is once


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_threads_changes_no_byte(produced, dataset, workers):
    producer.run(made.config(workers=workers), dataset)
    assert made.block_bytes(dataset) == made.block_bytes(produced)


def test_another_seed_gives_other_blocks(produced, dataset):
    producer.run(made.config(seed=8, num_blocks=1), dataset)
    assert made.open_ledger(dataset).documents(0).tolist() != made.open_ledger(produced).documents(0).tolist()


def test_blocks_can_be_asked_for_one_at_a_time(produced, dataset):
    for count in (1, 2, 4):
        producer.run(made.config(num_blocks=count), dataset)
    assert producer.run(made.config(), dataset) == 0
    assert made.block_bytes(dataset) == made.block_bytes(produced)


def test_a_removed_block_comes_back_as_it_was(produced, dataset):
    producer.run(made.config(), dataset)
    uses = made.open_ledger(dataset).uses()
    for block in (1, 3):
        shutil.rmtree(dataset / f"blocks/block-{block:05d}")
    # The config of today doesn't matter: the block is made of what the ledger noted.
    assert producer.run(made.config(mixture={"en": 1.0}, seed=99), dataset) == 2
    assert made.block_bytes(dataset) == made.block_bytes(produced)
    assert (made.open_ledger(dataset).uses() == uses).all()


def test_without_a_mixture_shares_are_those_of_the_text(dataset):
    producer.run(made.config(mixture={}, num_blocks=1), dataset)
    corpus = Corpus(dataset, made.PRODUCE.holdout)
    sizes = np.bincount(corpus.domain, weights=corpus.bytes * ~corpus.held_out)
    manifest = BlockStore(dataset).manifest(0)
    for name, share in zip(corpus.domains, sizes / sizes.sum(), strict=True):
        assert abs(manifest.domain_tokens[name] - share * CAPACITY) < 1


def test_skipped_blocks_give_their_uses_back(dataset):
    config = made.config()
    producer.run(config, dataset)
    before = made.open_ledger(dataset).uses().astype(int)
    journal = Journal(dataset / "journal.jsonl")
    journal.append("skip", block=1, reader="run")
    report_progress(dataset, "run", ReaderPosition(2, finished=False))
    producer.run(made.config(num_blocks=5), dataset)
    ledger = made.open_ledger(dataset)
    assert ledger.applied() == [0, 2, 3, 4]
    expected = before.copy()
    np.subtract.at(expected, ledger.documents(1), 1)
    np.add.at(expected, ledger.documents(4), 1)
    assert (ledger.uses() == expected).all()
    journal.append("unskip", block=1, reader="run")
    producer.run(made.config(num_blocks=5), dataset)
    np.add.at(expected, ledger.documents(1), 1)
    assert (made.open_ledger(dataset).uses() == expected).all()


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def test_the_producer_stays_ahead_and_no_further(dataset):
    config = made.config(num_blocks=0, ahead=2)
    thread = threading.Thread(target=producer.run, args=(config, dataset))
    thread.start()
    wait_for(lambda: (dataset / "dataset.json").exists())
    store = BlockStore(dataset)
    wait_for(lambda: store.finished() == [0, 1, 2])  # nobody reads yet: as if block 0 were being read
    for position, last in ((0, 2), (1, 3), (3, 5)):
        report_progress(dataset, "run", ReaderPosition(position, finished=False))
        wait_for(lambda last=last: store.finished() == list(range(last + 1)))
        time.sleep(0.1)
        assert store.finished() == list(range(last + 1))
    Journal(dataset / "journal.jsonl").append("skip", block=5, reader="run")  # one of the two ahead is none any more
    wait_for(lambda: store.finished() == list(range(7)))
    report_progress(dataset, "run", ReaderPosition(4, finished=True))
    thread.join(20)
    assert not thread.is_alive()
    assert store.finished() == list(range(7))


def test_which_block_is_next(produced):
    store = BlockStore(produced)  # blocks 0 to 3 stand

    def following(ahead, readers, skipped=(), num_blocks=0):
        config = made.config(ahead=ahead, num_blocks=num_blocks)
        readers = {name: ReaderPosition(*position) for name, position in readers.items()}
        return producer.next_block(config, store, set(skipped), readers)

    assert following(3, {}) is None
    assert following(4, {}) == 4
    assert following(4, {}, num_blocks=4) is None
    assert following(0, {"a": (2, False)}) is None
    assert following(1, {"a": (3, False)}) == 4
    assert following(2, {"a": (1, False)}) is None
    assert following(2, {"a": (1, False)}, skipped=[3]) == 4
    assert following(2, {"a": (1, False)}, skipped=[3, 4]) == 5
    assert following(1, {"a": (0, False), "b": (3, False)}) == 4
    assert following(1, {"a": (0, False), "b": (9, True)}) is None  # who is finished needs nothing ahead
    assert following(1, {"a": (6, False), "b": (2, False)}) == 4  # the rearmost one's blocks come first
    assert following(1, {"a": (6, False)}) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq_len": 31}, "begun with seq_len 63, and now it would be 31"),
        ({"block_tokens": 4096}, r"begun with rows \[\{'63': 128\}\], and now it would be \[\{'63': 64\}\]"),
    ],
)
def test_another_shape_is_refused(dataset, change, message):
    producer.run(made.config(num_blocks=1), dataset)
    with pytest.raises(DataError, match=message):
        producer.run(made.config(**change), dataset)


def test_another_tokenizer_or_other_documents_are_refused(produced, dataset):
    producer.run(made.config(num_blocks=1), dataset)
    info = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps(info | {"tokenizer_digest": "f" * 64}))
    with pytest.raises(DataError, match="begun with tokenizer_digest ffffffffffff, and now it would be"):
        producer.run(made.config(), dataset)
    (dataset / "dataset.json").write_text(json.dumps(info | {"domains": ["en"]}))
    with pytest.raises(DataError, match=r"begun with domains \['en'\]"):
        producer.run(made.config(), dataset)
    (dataset / "dataset.json").write_text(json.dumps(info))
    (dataset / "documents/part-00002.parquet").unlink()
    with pytest.raises(DataError, match="the documents changed since the first block was made"):
        producer.run(made.config(), dataset)


def test_what_is_missing_names_the_command(prepared, tmp_path):
    with pytest.raises(DataError, match="no such folder; run maxlm-data ingest"):
        producer.run(made.config(), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    made.write_documents(tmp_path, texts.corpus(documents=8))
    with pytest.raises(DataError, match="maxlm-data tokenizer"):
        producer.run(made.config(), tmp_path)
    shutil.copytree(prepared / "tokenizer", tmp_path / "tokenizer")
    shutil.rmtree(tmp_path / "documents")
    with pytest.raises(DataError, match="run maxlm-data ingest, clean and dedup first"):
        producer.run(made.config(), tmp_path)


def test_sizes_and_mixtures_that_cannot_be(dataset):
    with pytest.raises(ConfigError, match="less than row_multiple 200 rows"):
        producer.run(made.config(row_multiple=200), dataset)
    with pytest.raises(ConfigError, match="no documents of domain 'math'"):
        producer.run(made.config(mixture={"math": 1.0}), dataset)
    assert not (dataset / "blocks").exists()


def test_a_domain_smaller_than_its_budget_is_repeated(tmp_path):
    documents = [("en", text) for domain, text in texts.corpus() if domain == "en"] + [
        ("zh", "一二三四"),
        ("zh", "五六"),
    ]
    dataset = made.dataset(tmp_path / "small", documents)
    producer.run(made.config(mixture={"en": 0.5, "zh": 0.5}, num_blocks=1), dataset)
    manifest = BlockStore(dataset).verify(0)
    assert manifest.domain_tokens == {"en": CAPACITY // 2, "zh": CAPACITY // 2}
    uses = made.open_ledger(dataset).uses()
    assert uses.max() > 100  # one of the two documents is held out, the other fills half of the block
    assert (uses == made.counted(dataset)).all()


def test_a_validation_block_of_an_attempt_that_never_began_is_made_anew(dataset):
    producer.run(made.config(num_blocks=1), dataset)
    for name in ("blocks", "ledger"):
        shutil.rmtree(dataset / name)
    (dataset / "dataset.json").unlink()
    producer.run(made.config(num_blocks=1, seq_len=31), dataset)
    BlockStore(dataset).verify(0)
    BlockStore(dataset, "validation").verify(0)


def test_nothing_held_out_means_no_validation_block(dataset):
    producer.run(made.config(holdout=0.0, num_blocks=1), dataset)
    assert not (dataset / "validation").exists()


def test_the_description_remembers_how_it_was_made(produced):
    info = BlockStore(produced).info
    assert info.creation["mixture"]["shares"] == made.MIXTURE
    assert info.creation["produce"]["seed"] == 7
    assert info.rows_in(0) == info.rows_in(99) == {made.SEQ_LEN: made.ROWS}
    assert dataclasses.asdict(info)["domains"] == ("code", "en", "zh")


def test_stages_and_a_mixture_by_source(dataset):
    """Through the real producer: budgets of sources, stages in the manifests, and removed blocks as they were."""
    half = MixtureConfig(by="source", shares={"en-0": 0.5, "zh-1": 0.5})
    longest = FilterConfig(scores=(ScoreRangeConfig("length", top=0.5),))
    stages = (
        StageConfig("main", 2 * CAPACITY),
        StageConfig("anneal", 2 * CAPACITY, mixture=half, order=OrderConfig(by="length"), filter=longest),
    )
    config = dataclasses.replace(made.config(), stages=stages)
    producer.run(config, dataset)
    store = BlockStore(dataset)
    manifests = [store.verify(block) for block in range(4)]
    assert [manifest.stage for manifest in manifests] == ["main", "main", "anneal", "anneal"]
    assert manifests[0].domain_tokens == {"code": 2458, "en": 4096, "zh": 1638}
    for manifest in manifests[2:]:
        assert manifest.source_tokens == {"en-0": CAPACITY // 2, "zh-1": CAPACITY // 2}
    before = made.block_bytes(dataset)
    for block in (0, 3):
        shutil.rmtree(dataset / f"blocks/block-{block:05d}")
    assert producer.run(made.config(), dataset) == 2  # whatever the config says by now
    assert made.block_bytes(dataset) == before


def test_what_is_used_up_is_made_up_for_by_others(dataset):
    mixture = MixtureConfig(weights=made.MIXTURE, max_uses_of={"zh": 1})
    producer.run(made.config(mixture=mixture), dataset)
    store, corpus, uses = BlockStore(dataset), Corpus(dataset, made.PRODUCE.holdout), made.open_ledger(dataset).uses()
    tokens = [store.verify(block).domain_tokens for block in range(4)]
    assert tokens[0]["zh"] == 1638
    assert tokens[3]["zh"] < 1638
    assert all(sum(part.values()) == CAPACITY for part in tokens)
    assert uses[(corpus.domain == corpus.domains.index("zh")) & ~corpus.held_out].tolist().count(1) > 0
    assert uses[corpus.domain == corpus.domains.index("zh")].max() == 1
    stop = dataclasses.replace(mixture, exhausted="stop")
    with pytest.raises(
        ConfigError, match=r"documents last for \d of 4 blocks \(zh used up\): .*exhausted='redistribute'"
    ):
        producer.run(made.config(mixture=stop), dataset)
