"""Real producers over packers, overlaps, lengths of rows, parts and sizes: what they write is what they account for."""

import dataclasses
import importlib.util
import multiprocessing
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce import producer
from maxlm.blocks.format import PADDING_DOMAIN
from maxlm.blocks.reader import BlockStore, ReaderPosition, report_progress
from maxlm.errors import ConfigError, DataError
from maxlm.tokenizer.load import load_tokenizer
from tests.data_pipeline.produce import made

UNIT = 8 * 64  # tokens of a batch of rows of the data set's length
BUCKETS = made.VARIED["row_lengths"]
FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def options(draw):
    """Keys of config.produce."""
    best_fit = draw(st.booleans())
    sizes = draw(st.lists(st.integers(4, 12).map(lambda units: units * UNIT), min_size=1, max_size=2))
    return {
        "pack": "best_fit" if best_fit else "concatenate",
        "row_lengths": draw(st.sampled_from([{}, BUCKETS])) if best_fit else {},
        "overlap": draw(st.integers(0, 9)) if best_fit else 0,
        "parts": draw(st.integers(1, 3)),
        "block_tokens": tuple(sizes),
        "shard_rows": draw(st.integers(3, 60)),
        "num_blocks": 2,
        "seed": draw(st.integers(0, 99)),
    }


def segments_of(dataset, block, blocks="blocks"):
    """(tokens, learnt, domain) of each segment of a block, and how many places are padding."""
    store, found, padded = BlockStore(dataset, blocks), [], 0
    for length in store.manifest(block).rows_by_length:
        source = store.source(block, length)
        rows = store.info.format_of(length).decode(source.__getitems__(list(range(len(source)))))
        for tokens, starts, learn, domains in zip(*rows, strict=True):
            held = domains != PADDING_DOMAIN
            padded += int((~held).sum())
            bounds = [*np.flatnonzero(starts & held), int(held.sum())]
            for begin, end in pairwise(bounds):
                assert len(set(domains[begin:end].tolist())) == 1
                found.append((tokens[begin:end].tolist(), learn[begin:end], int(domains[begin])))
    return found, padded


def check_block(dataset, block):
    """The account, counted anew from the rows; and that the rows hold the documents that the ledger names."""
    store = BlockStore(dataset)
    manifest, (segments, padded) = store.verify(block), segments_of(dataset, block)
    account = manifest.account
    learnt, masked = (
        sum(int(learn.sum()) for _, learn, _ in segments),
        sum(int((~learn).sum()) for _, learn, _ in segments),
    )
    assert (learnt, masked, padded) == (account.written, account.repeated, account.padded)
    assert manifest.packing.fill == pytest.approx(account.written / manifest.capacity)
    by_domain = Counter({store.info.domains[d]: 0 for _, _, d in segments})
    for _, learn, domain in segments:
        by_domain[store.info.domains[domain]] += int(learn.sum())
    assert dict(by_domain) == manifest.domain_tokens
    for name, share in made.MIXTURE.items():
        assert abs(manifest.domain_tokens[name] - share * account.written) <= 1
    corpus, tokenizer = Corpus(dataset, made.PRODUCE.holdout), load_tokenizer(dataset / "tokenizer")
    chosen = made.open_ledger(dataset).documents(block)
    texts = dict(
        zip(range(len(corpus)), (t for _, some in corpus.texts(np.arange(len(corpus))) for t in some), strict=True)
    )
    expected = Counter()
    for ordinal in chosen.tolist():
        expected.update([tokenizer.bos_id, *tokenizer.encode(texts[ordinal]), tokenizer.eos_id])
    found = Counter(t for tokens, learn, _ in segments for t, kept in zip(tokens, learn, strict=True) if kept)
    assert not found - expected
    assert (expected - found).total() == account.truncated
    return manifest


@FEW
@given(options())
def test_what_is_written_is_what_is_accounted_for(prepared, tmp_path_factory, chosen):
    dataset = made.copy(prepared, tmp_path_factory.mktemp("shapes") / "dataset")
    config = made.config(**chosen)
    assert producer.run(config, dataset) == 2
    info = BlockStore(dataset).info
    for block in range(2):
        manifest = check_block(dataset, block)
        assert manifest.rows_by_length == info.rows_in(block)
        assert info.steps(block, 8) * UNIT <= chosen["block_tokens"][min(block, len(chosen["block_tokens"]) - 1)]
        assert not chosen["row_lengths"] or set(manifest.rows_by_length) == {63, 21, 9}
    first = made.block_bytes(dataset)
    made.remove_block(dataset, 1)  # made again from the ledger alone
    producer.run(config, dataset)
    assert made.block_bytes(dataset) == first


def test_bytes_do_not_depend_on_the_workers(prepared, tmp_path):
    found = []
    for workers in (1, 3):
        dataset = made.copy(prepared, tmp_path / str(workers))
        producer.run(made.config(**made.VARIED, workers=workers, num_blocks=2), dataset)
        found.append(made.block_bytes(dataset))
    assert found[0] == found[1]


def on_two_workers(dataset, told):
    """A producer on a Ray of this process's own."""
    import ray

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    config = dataclasses.replace(made.config(**made.VARIED, num_blocks=2), runner="ray")
    producer.run(config, dataset)
    # And a fault in a worker comes back as what it is, with nothing half written.
    made.remove_block(dataset, 1)
    for path in sorted((dataset / "documents").glob("*.parquet")):
        path.write_bytes(b"")
    try:
        producer.run(config, dataset)
    except DataError as error:
        told.put(str(error))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install ray")
def test_ray_makes_the_same_bytes(prepared, tmp_path):
    here, there = (made.copy(prepared, tmp_path / name) for name in ("here", "there"))
    producer.run(made.config(**made.VARIED, num_blocks=2), here)
    expected = made.block_bytes(here)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=on_two_workers, args=(there, told))
    process.start()
    message = told.get(timeout=120)
    process.join()
    assert process.exitcode == 0
    found = made.block_bytes(there)
    assert found == {path: raw for path, raw in expected.items() if "blocks/block-00001" not in path}
    assert "not readable as Parquet" in message


def test_blocks_grow_as_told(dataset):
    producer.run(made.config(block_tokens=(2 * UNIT, 4 * UNIT, 6 * UNIT), num_blocks=4), dataset)
    store = BlockStore(dataset)
    assert [store.manifest(block).rows for block in range(4)] == [16, 32, 48, 48]
    assert [store.info.steps(block, 8) for block in range(5)] == [2, 4, 6, 6, 6]
    with pytest.raises(DataError, match="begun with rows"):
        producer.run(made.config(block_tokens=(2 * UNIT, 4 * UNIT), num_blocks=4), dataset)


def test_blocks_that_all_runs_have_passed_are_removed_and_come_back(produced, dataset):
    producer.run(made.config(), dataset)
    store = BlockStore(dataset)
    report_progress(dataset, "ahead", ReaderPosition(3, finished=False, oldest=3))
    report_progress(dataset, "behind", ReaderPosition(3, finished=True, oldest=1))
    producer.run(made.config(), dataset)
    assert store.finished() == [0, 1, 2, 3]  # not asked for
    producer.run(made.config(remove_passed=True), dataset)
    assert store.finished() == [1, 2, 3]
    report_progress(dataset, "behind", ReaderPosition(0, finished=False))  # rolled back to its very start
    producer.run(made.config(remove_passed=True), dataset)
    assert made.block_bytes(dataset) == made.block_bytes(produced)
    assert (made.open_ledger(dataset).uses() == made.open_ledger(produced).uses()).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"row_lengths": {"63": 0.5, "20": 0.5}},
            r"row_lengths: '20' is no length of 2 or more that divides seq_len 63",
        ),
        ({"row_lengths": {"63": 0.5, "x": 0.5}}, r"row_lengths: 'x' is no length"),
        ({"row_lengths": {"63": 0.5, "21": 0.4}}, r"row_lengths: the shares sum to 0.9, not 1"),
        ({"row_lengths": {"63": 1.5, "21": -0.5}}, r"row_lengths: '63': a share of 1.5 is outside \(0, 1\]"),
        ({"row_lengths": {"21": 0.5, "021": 0.5}}, "a length is there twice"),
        ({"overlap": 64}, r"overlap: 64 is outside \[0, 63\]"),
        ({"overlap": 10, "row_lengths": BUCKETS}, r"overlap: 10 is outside \[0, 9\]"),
        ({"pack": "concatenate", "overlap": 1}, "overlap and row_lengths are for pack='best_fit'"),
        ({"parts": 0}, "parts: 0 is less than 1"),
        ({"block_tokens": ()}, "a block must hold at least one row"),
        ({"block_tokens": (512, 63)}, "a block must hold at least one row"),
    ],
)
def test_options_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        made.config(**{"pack": "best_fit"} | changes)


def test_a_share_of_rows_smaller_than_a_batch(dataset):
    with pytest.raises(
        ConfigError, match=r"row_lengths: 3 batches of 8 rows of seq_len are too few for a share of 0.1"
    ):
        producer.run(made.config(pack="best_fit", row_lengths={"63": 0.9, "21": 0.1}, block_tokens=3 * UNIT), dataset)
    assert not (dataset / "dataset.json").exists()


@pytest.mark.parametrize(
    "change", [{"pack": "best_fit"}, {"parts": 2}, {"pack": "best_fit", "row_lengths": {"63": 0.5, "21": 0.5}}]
)
def test_another_way_of_packing_is_refused(dataset, change):
    producer.run(made.config(num_blocks=1), dataset)
    with pytest.raises(DataError, match="this data set was begun with "):
        producer.run(made.config(**change), dataset)


def test_a_shard_that_is_gone_is_named(dataset):
    producer.run(made.config(num_blocks=1), dataset)
    (dataset / "blocks/block-00000/shard-00001-of-00003.array_record").unlink()
    with pytest.raises(DataError, match=r"shard-00001-of-00003\.array_record: the manifest names this shard"):
        BlockStore(dataset).verify(0)
