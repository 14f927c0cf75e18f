"""Stages with rows of their own: short rows first, long ones later, and held-out documents in rows of both."""

import dataclasses

import pytest

from data_pipeline.mix.config import StageConfig
from data_pipeline.produce import producer
from maxlm.blocks.reader import BlockStore
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.produce import made
from tests.data_pipeline.produce.test_shapes import segments_of

BLOCK = made.ROWS * (made.SEQ_LEN + 1)
SHORT = StageConfig("short", tokens=2 * BLOCK, row_lengths={"21": 0.75, "9": 0.25})
LONG = StageConfig("long", tokens=BLOCK)


def config(*stages: StageConfig, **produce):
    return dataclasses.replace(made.config(**{"pack": "best_fit", **produce}), stages=stages)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    dataset = made.dataset(tmp_path_factory.mktemp("staged"))
    producer.run(config(SHORT, LONG), dataset)
    return dataset


def test_every_block_has_its_stage_s_rows(staged):
    store = BlockStore(staged)
    manifests = [store.verify(block) for block in range(4)]
    assert [manifest.stage for manifest in manifests] == ["short", "short", "long", "long"]
    short, long = {21: 288, 9: 224}, {63: 128}
    assert [manifest.rows_by_length for manifest in manifests] == [short, short, long, long]
    assert [store.info.rows_in(block) for block in (0, 1, 2, 3, 99)] == [short, short, long, long, long]
    assert store.info.steps(0, 8) == store.info.steps(2, 8) == 16  # the same tokens a step, whatever the rows


def test_held_out_documents_stand_in_rows_of_both_lengths(staged):
    store = BlockStore(staged, "validation")
    assert [store.verify(block).rows_by_length.keys() for block in store.finished()] == [{63}, {21}]
    account = [store.manifest(block).domain_tokens for block in range(2)]
    assert account[0] == account[1]
    learnt = [sum(int(learn.sum()) for _, learn, _ in segments_of(staged, block, "validation")[0]) for block in (0, 1)]
    assert learnt[0] == learnt[1] > 0


def test_blocks_of_stages_are_made_again_to_the_same_bytes(staged, tmp_path):
    again = made.copy(staged, tmp_path)
    producer.run(config(SHORT, LONG, num_blocks=1), again)
    producer.run(config(SHORT, LONG), again)
    assert made.block_bytes(again) == made.block_bytes(staged)


def test_other_rows_than_it_was_begun_with(staged):
    with pytest.raises(DataError, match="this data set was begun with rows"):
        producer.run(config(dataclasses.replace(SHORT, row_lengths={}), LONG), staged)


@pytest.mark.parametrize(
    ("stages", "produce", "message"),
    [
        ([dataclasses.replace(SHORT, row_lengths={"20": 1.0})], {}, r"row_lengths of 'short': '20' is no length"),
        ([SHORT], {}, r"config\.stages: no stage has rows of config\.produce\.seq_len=63"),
        ([SHORT, LONG], {"pack": "concatenate"}, "rows of several lengths are for config.produce.pack='best_fit'"),
        ([SHORT, LONG], {"overlap": 10}, "overlap=10 would fill the shortest"),
    ],
)
def test_rows_of_stages_that_can_not_be(stages, produce, message):
    with pytest.raises(ConfigError, match=message):
        config(*stages, **produce)
