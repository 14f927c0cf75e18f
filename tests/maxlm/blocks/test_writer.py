"""A block is whole or it does not exist."""

import pytest

from maxlm.blocks.manifest import TokenAccount
from maxlm.blocks.reader import BlockStore
from maxlm.blocks.writer import ShardPlan, new_block, plan_shards, write_shard
from maxlm.errors import DataError
from tests.maxlm.blocks import made


def test_rows_are_spread_over_shards(tmp_path):
    manifest = made.block(tmp_path)
    assert [shard.rows for shard in manifest.shards] == [4, 4, 2]
    assert manifest.rows == 10
    for shard in manifest.shards:
        assert (tmp_path / "blocks/block-00000" / shard.file).stat().st_size == shard.bytes


def parts(rows, size):
    count = len(rows.tokens)
    return [type(rows)(*(column[i : i + size] for column in rows)) for i in range(0, count, size)]


def test_the_same_rows_give_the_same_bytes_however_they_are_chunked(tmp_path):
    plan = ShardPlan(0, 1, 15, 0, 10)
    for size in (1, 3, 10):
        (tmp_path / str(size)).mkdir()
    shards = [write_shard(tmp_path / str(size), plan, made.FORMAT, parts(made.rows(), size)) for size in (1, 3, 10)]
    assert len(set(shards)) == 1
    assert len({(tmp_path / str(size) / plan.file).read_bytes() for size in (1, 3, 10)}) == 1


def test_shards_are_cut_by_tokens_and_counted_through():
    runs = plan_shards([(8, 5), (4, 9), (8, 0), (4, 1)], shard_tokens=16)
    assert [[(p.number, p.seq_len, p.start, p.end) for p in run] for run in runs] == [
        [(0, 8, 0, 2), (1, 8, 2, 4), (2, 8, 4, 5)],
        [(3, 4, 0, 4), (4, 4, 4, 8), (5, 4, 8, 9)],
        [],
        [(6, 4, 0, 1)],
    ]
    assert {plan.of for run in runs for plan in run} == {7}


@pytest.mark.parametrize("count", [9, 11])
def test_a_shard_of_another_number_of_rows(tmp_path, count):
    with pytest.raises(DataError, match=f"{count} rows where 10 were planned"):
        write_shard(tmp_path, ShardPlan(0, 1, 15, 0, 10), made.FORMAT, [made.rows(count)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"account": TokenAccount(selected=161, written=160, truncated=0, padded=0)}, "does not balance"),
        ({"domain_tokens": {"en": 1}}, "domain_tokens do not sum"),
    ],
)
def test_nothing_remains_of_a_block_whose_manifest_is_wrong(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        made.block(tmp_path, **changes)
    assert not (tmp_path / "blocks/block-00000").exists()


def test_nothing_remains_when_the_rows_themselves_fail(tmp_path):
    def chunks():
        yield made.rows(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), new_block(tmp_path / "block"):
        write_shard(tmp_path / "block", ShardPlan(0, 1, 15, 0, 10), made.FORMAT, chunks())
    assert not (tmp_path / "block").exists()


def test_nothing_remains_without_a_manifest(tmp_path):
    with new_block(tmp_path / "block"):
        write_shard(tmp_path / "block", ShardPlan(0, 1, 15, 0, 10), made.FORMAT, [made.rows()])
    assert not (tmp_path / "block").exists()


def test_a_block_is_written_anew_over_what_stood_there(tmp_path):
    made.block(tmp_path)
    (tmp_path / "blocks/block-00000/shard-00009-of-00010.array_record").write_bytes(b"left over")
    made.block(tmp_path, chunks=[made.rows(seed=1)])
    assert len(list((tmp_path / "blocks/block-00000").iterdir())) == 4
    BlockStore(tmp_path).verify(0)
