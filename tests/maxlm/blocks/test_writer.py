"""A block is whole or it does not exist."""

import pytest

from maxlm.blocks.manifest import TokenAccount
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DataError
from tests.maxlm.blocks import made


def test_rows_are_spread_over_shards(tmp_path):
    manifest = made.block(tmp_path)
    assert [shard.rows for shard in manifest.shards] == [4, 4, 2]
    assert manifest.rows == 10
    for shard in manifest.shards:
        assert (tmp_path / "blocks/block-00000" / shard.file).stat().st_size == shard.bytes


def test_the_same_rows_give_the_same_bytes_however_they_are_chunked(tmp_path):
    rows = made.rows()
    chunks = [type(rows)(*(column[i : i + 3] for column in rows)) for i in range(0, 10, 3)]
    assert made.block(tmp_path / "a") == made.block(tmp_path / "b", chunks=chunks)
    for path in (tmp_path / "a/blocks/block-00000").iterdir():
        assert path.read_bytes() == (tmp_path / "b/blocks/block-00000" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chunks": [made.rows(9)]}, "ran out"),
        ({"chunks": [made.rows(), made.rows(1)]}, "more rows than"),
        ({"account": TokenAccount(selected=161, written=160, truncated=0, padded=0)}, "does not balance"),
        ({"domain_tokens": {"en": 1}}, "domain_tokens do not sum"),
    ],
)
def test_nothing_remains_of_a_block_that_failed(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        made.block(tmp_path, **changes)
    assert not (tmp_path / "blocks/block-00000").exists()


def test_nothing_remains_when_the_rows_themselves_fail(tmp_path):
    def chunks():
        yield made.rows(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.block(tmp_path, chunks=chunks())
    assert not (tmp_path / "blocks/block-00000").exists()


def test_a_block_is_written_anew_over_what_stood_there(tmp_path):
    made.block(tmp_path)
    (tmp_path / "blocks/block-00000/shard-00009-of-00010.array_record").write_bytes(b"left over")
    made.block(tmp_path, chunks=[made.rows(seed=1)])
    assert len(list((tmp_path / "blocks/block-00000").iterdir())) == 4
    BlockStore(tmp_path).verify(0)
