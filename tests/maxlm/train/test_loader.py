"""Rows to batches: every row once, in the order that seed and block decide, wherever reading begins."""

import shutil
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.blocks.format import PADDING_DOMAIN, Batch, to_batch
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DataError
from maxlm.train.loader import BlockFeed, batch_order, open_block, row_order
from tests.synthetic import make_dataset, make_varied_dataset

ROWS, BATCH, SEED = 19, 4, 5  # rows that no batch size here divides, over three shards
FROZEN_ORDER = [0, 7, 8, 6, 9, 5, 1, 3, 2, 4]  # row_order(10, 0, 0)
FROZEN_BATCHES = [(0, 2), (0, 1), (1, 0), (1, 1), (0, 0), (1, 2), (1, 3)]  # batch_order([3, 4], 0, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> BlockStore:
    return BlockStore(make_dataset(tmp_path_factory.mktemp("data"), blocks=2, rows=ROWS))


@pytest.fixture
def feed(store):
    feed = BlockFeed(store, batch=BATCH, seed=SEED, verify=True, wait_s=0.0)
    yield feed
    feed.close()


def _rows_of(store: BlockStore, block: int) -> Batch:
    """All rows of a block in the order in which they were written, as one batch."""
    source = store.source(block)
    return to_batch(store.info.row_format.decode(source.__getitems__(list(range(len(source))))))


def _assert_same(found: Batch, expected: Batch) -> None:
    for name, a, b in zip(Batch._fields, found, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert a.dtype == b.dtype, name


@given(st.integers(0, 3000), st.integers(-(2**63), 2**64 - 2), st.integers(0, 100_000))
def test_row_order_is_a_permutation_of_its_own(rows, seed, block):
    order = row_order(rows, seed, block)
    np.testing.assert_array_equal(np.sort(order), np.arange(rows))
    np.testing.assert_array_equal(order, row_order(rows, seed, block))
    if rows > 50:
        assert not np.array_equal(order, row_order(rows, seed, block + 1))
        assert not np.array_equal(order, row_order(rows, seed + 1, block))


def test_row_order_is_frozen():
    """A run that resumes under a newer program must find its rows in the same order."""
    assert row_order(10, 0, 0).tolist() == FROZEN_ORDER, (
        "row_order has changed: runs in progress would read some rows twice and others never. Put it back, or raise "
        "FORMAT_VERSION in maxlm/train/checkpoint.py so that such runs are refused."
    )


@pytest.mark.parametrize("block", [0, 1])
def test_every_row_once_in_order(store, feed, block):
    batches = list(feed.batches(feed.open(block), start=0))
    assert len(batches) == len(feed.open(block)) == 5
    read = Batch(*(np.concatenate(columns) for columns in zip(*batches, strict=True)))
    order = row_order(ROWS, SEED, block)
    _assert_same(
        Batch(*(column[:ROWS] for column in read)), Batch(*(column[order] for column in _rows_of(store, block)))
    )
    padding = Batch(*(column[ROWS:] for column in read))
    assert len(padding.inputs) == 1
    assert not padding.weights.any()
    assert not padding.segments.any()
    assert (padding.domains == PADDING_DOMAIN).all()


@pytest.mark.parametrize("start", range(6))
def test_reading_may_begin_at_any_batch(feed, start):
    block = feed.open(0)
    read = list(feed.batches(block, start))
    assert len(read) == 5 - start
    for index, batch in enumerate(read, start=start):
        _assert_same(batch, block[index])


@pytest.mark.parametrize(("batch", "processes"), [(4, 1), (4, 2), (4, 4), (8, 2), (20, 5), (32, 4)])
def test_parts_of_processes_tile_the_global_batch(store, batch, processes):
    manifest, share = store.manifest(0), batch // processes
    whole = open_block(store, manifest, batch=batch, seed=SEED)
    parts = [open_block(store, manifest, batch=batch, seed=SEED, part=(i, processes)) for i in range(processes)]
    for index in range(len(whole)):
        pieces = [p[index] for p in parts]
        assert {len(piece.inputs) for piece in pieces} == {share}  # also where the rows have run out
        _assert_same(Batch(*(np.concatenate(columns) for columns in zip(*pieces, strict=True))), whole[index])


def test_index_beyond_the_block(feed):
    with pytest.raises(IndexError):
        feed.open(0)[5]


@pytest.mark.parametrize("prepared", [False, True])
def test_a_flipped_byte_is_found(tmp_path, prepared):
    store = BlockStore(make_dataset(tmp_path, blocks=1))
    shard = sorted((tmp_path / "blocks" / "block-00000").glob("*.array_record"))[1]
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    feed = BlockFeed(store, batch=BATCH, seed=0, verify=True, wait_s=0.0)
    if prepared:
        feed.prepare(0)  # found in the background, told when the block is asked for
    with pytest.raises(DataError, match=rf"{shard.name}: damaged \(its SHA-256 is not the manifest's\)"):
        feed.open(0)
    feed.close()


def test_a_damaged_block_is_set_aside_until_it_is_made_again(tmp_path):
    store = BlockStore(make_dataset(tmp_path / "data", blocks=2))
    whole = tmp_path / "whole"
    shutil.copytree(store.folder(1), whole)
    next(iter(sorted(store.folder(1).glob("*.array_record")))).unlink()
    told: list[str] = []
    feed = BlockFeed(store, batch=BATCH, seed=0, verify=True, wait_s=30.0, say=told.append)
    again = threading.Timer(0.5, whole.rename, [store.folder(1)])  # whole at once, as the data process publishes
    again.start()
    assert len(feed.open(1)) == 4
    again.join()
    feed.close()
    (aside,) = (tmp_path / "data" / "damaged").iterdir()
    assert aside.name.startswith("block-00001-")
    assert "the manifest names this shard, but it is not there; set aside as" in told[0]
    assert store.finished() == [0, 1]


def test_waiting_ends_with_a_word(feed):
    with pytest.raises(DataError, match=r"block-00007: not finished after 0 s; is the data process running"):
        feed.open(7)


def test_waits_for_a_block_in_the_making(tmp_path):
    store = BlockStore(make_dataset(tmp_path, blocks=1))
    manifest = tmp_path / "blocks" / "block-00000" / "manifest.json"
    aside = manifest.rename(tmp_path / "manifest.json")
    feed = BlockFeed(store, batch=BATCH, seed=0, verify=True, wait_s=30.0)
    feed.prepare(0)  # not there yet: nothing is begun
    publish = threading.Timer(0.3, aside.rename, [manifest])
    publish.start()
    started = time.perf_counter()
    assert len(feed.open(0)) == 4
    assert time.perf_counter() - started > 0.2
    assert 0.2 < feed.waited_share() <= 1  # the time went into waiting, and is told once
    assert feed.waited_share() == 0
    publish.join()
    feed.close()


LENGTHS = {16: 10, 8: 13, 4: 21}  # rows of each; a batch of 2 long ones is 4 or 8 shorter ones


@pytest.fixture(scope="module")
def varied(tmp_path_factory) -> BlockStore:
    return BlockStore(make_varied_dataset(tmp_path_factory.mktemp("varied"), blocks=2, rows=LENGTHS))


def test_batches_of_several_lengths_hold_the_same_tokens_and_every_row_once(varied):
    batches = open_block(varied, varied.manifest(1), batch=2, seed=SEED)
    assert len(batches) == varied.info.steps(1, 2) == 5 + 4 + 3
    read = {length: [] for length in LENGTHS}
    for index in range(len(batches)):
        batch = batches[index]
        assert batch.inputs.size == 2 * 16
        read[batch.inputs.shape[1]].append(batch)
    for length, rows in LENGTHS.items():
        found = Batch(*(np.concatenate(columns) for columns in zip(*read[length], strict=True)))
        source = varied.source(1, length)
        expected = to_batch(varied.info.format_of(length).decode(source.__getitems__(list(range(rows)))))
        inputs = [row for row, domains in zip(found.inputs.tolist(), found.domains, strict=True) if domains[0] != 255]
        assert sorted(inputs) == sorted(expected.inputs.tolist())


def test_batches_of_several_lengths_are_mixed_by_seed_and_block(varied):
    def order(block, seed):
        batches = open_block(varied, varied.manifest(block), batch=2, seed=seed)
        return [batches[i].inputs.shape[1] for i in range(len(batches))]

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(block, seed)) for block in (0, 1) for seed in range(3)}) > 3
    assert sorted(order(0, 1)) != order(0, 1)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_parts_of_processes_tile_batches_of_every_length(varied, processes):
    manifest = varied.manifest(0)
    whole = open_block(varied, manifest, batch=4, seed=SEED)
    parts = [open_block(varied, manifest, batch=4, seed=SEED, part=(i, processes)) for i in range(processes)]
    for index in range(len(whole)):
        pieces = [part[index] for part in parts]
        _assert_same(Batch(*(np.concatenate(columns) for columns in zip(*pieces, strict=True))), whole[index])


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.integers(0, 99), st.integers(0, 99))
def test_batch_order_takes_each_batch_once(counts, seed, block):
    which, number = batch_order(counts, seed, block)
    found = sorted(zip(which.tolist(), number.tolist(), strict=True))
    assert found == [(i, j) for i, count in enumerate(counts) for j in range(count)]
    if len(counts) == 1:  # the order of the rows is the order of the batches
        assert number.tolist() == list(range(counts[0]))


def test_batch_order_is_frozen():
    which, number = batch_order([3, 4], 0, 0)
    assert list(zip(which.tolist(), number.tolist(), strict=True)) == FROZEN_BATCHES, "see test_row_order_is_frozen"
