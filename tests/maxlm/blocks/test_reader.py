"""Reading finds the rows that were written, and every kind of damage."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from maxlm.blocks.reader import BlockStore, ReaderPosition, reading_positions, report_progress
from maxlm.errors import DataError
from tests.maxlm.blocks import made


@pytest.fixture
def store(tmp_path):
    made.block(tmp_path)
    return BlockStore(tmp_path)


def test_rows_come_back_in_any_order(store):
    source = store.source(0)
    assert len(source) == 10
    places = [9, 0, 4, 3, 4, 8]
    found = store.info.row_format.decode(source.__getitems__(places))
    for before, after in zip(made.rows(), found, strict=True):
        np.testing.assert_array_equal(before[places], after)
    assert source.__getitems__([]) == []
    assert source[9] == source.__getitems__([9])[0]
    with pytest.raises(IndexError):
        source[10]
    with pytest.raises(IndexError):
        source[-1]


def test_many_threads_read_at_once(store):
    source = store.source(0)
    expected = source.__getitems__(list(range(10)))
    orders = [np.random.default_rng(i).permutation(10).tolist() for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        for order, found in zip(orders, pool.map(source.__getitems__, orders), strict=True):
            assert found == [expected[i] for i in order]


def test_a_source_can_go_to_another_process(store):
    source = store.source(0)
    assert pickle.loads(pickle.dumps(source))[3] == source[3]  # noqa: S301 -- grain's workers do this


def test_only_blocks_with_a_manifest_exist(store, tmp_path):
    made.block(tmp_path, 3)
    (tmp_path / "blocks/block-00001").mkdir()
    (tmp_path / "blocks/block-old").mkdir()
    assert store.finished() == [0, 3]
    assert not store.has(1)
    assert BlockStore(tmp_path, "validation").finished() == []


def test_a_flipped_bit_is_found(store):
    store.verify(0)
    shard = store.folder(0) / store.manifest(0).shards[1].file
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(bytes(raw))
    with pytest.raises(DataError, match=r"shard-00001-of-00003\.array_record: damaged"):
        store.verify(0)


def test_a_cut_or_missing_shard_is_found(store):
    shard = store.folder(0) / store.manifest(0).shards[2].file
    raw = shard.read_bytes()
    shard.write_bytes(raw[:-100])
    with pytest.raises(DataError, match="damaged"):
        store.verify(0)
    shard.unlink()
    with pytest.raises(DataError, match="not there"):
        store.verify(0)
    with pytest.raises(DataError, match="missing or damaged"):
        store.source(0)


def test_blocks_of_another_tokenizer_are_refused(store, tmp_path):
    made.block(tmp_path, 1, tokenizer_digest="other")
    with pytest.raises(DataError, match="made with tokenizer other, but this data set's is ab12"):
        store.manifest(1)


def test_a_block_in_another_blocks_place_is_refused(store, tmp_path):
    (tmp_path / "blocks/block-00000").rename(tmp_path / "blocks/block-00005")
    with pytest.raises(DataError, match="expected block 5"):
        store.manifest(5)


def test_positions_of_readers(tmp_path):
    assert reading_positions(tmp_path) == {}
    report_progress(tmp_path, "a", ReaderPosition(3, finished=False))
    report_progress(tmp_path, "b", ReaderPosition(1, finished=True))
    report_progress(tmp_path, "a", ReaderPosition(4, finished=False))
    assert reading_positions(tmp_path) == {
        "a": ReaderPosition(4, finished=False),
        "b": ReaderPosition(1, finished=True),
    }


@pytest.mark.parametrize("raw", ["", "{}", "[]", json.dumps({"block": "x", "finished": False})])
def test_a_damaged_position_names_its_file(tmp_path, raw):
    report_progress(tmp_path, "a", ReaderPosition(3, finished=False))
    (tmp_path / "readers/a.json").write_text(raw)
    with pytest.raises(DataError, match=r"a\.json: not a reader's position"):
        reading_positions(tmp_path)
