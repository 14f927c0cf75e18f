"""A block and a data set as format 1 described them are read as they were meant."""

import json

import numpy as np

from maxlm.blocks.format import RowFormat
from maxlm.blocks.manifest import load_dataset, load_manifest
from maxlm.blocks.reader import BlockStore
from maxlm.blocks.writer import ShardPlan, write_shard
from tests.synthetic import make_rows

DIGEST = "0" * 64
DATASET = {
    "tokenizer_digest": DIGEST, "vocab_size": 128, "seq_len": 8, "rows_per_block": 5, "domains": ["code", "en"],
    "format_version": 1, "creation": {},
}  # fmt: skip
# Written by the program that wrote format 1.
MANIFEST = {
    "block": 0, "seq_len": 8, "rows": 5,
    "shards": [{
        "file": "shard-00000-of-00001.array_record", "rows": 5, "bytes": 131072,
        "sha256": "a7543e272eced559ebdf0527106a284b6209c7d209d128d78f6b7e64b04d90b5",
    }],
    "account": {"selected": 45, "written": 45, "truncated": 0, "padded": 0},
    "domain_tokens": {"code": 30, "en": 15}, "source_tokens": {"code": 30, "en": 15}, "documents": 1, "seed": 0,
    "tokenizer_digest": DIGEST, "selection": [0, 1], "stage": "main", "format_version": 1,
}  # fmt: skip


def test_format_1_is_read(tmp_path):
    folder = tmp_path / "blocks/block-00000"
    folder.mkdir(parents=True)
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    rows = make_rows(np.random.default_rng([0, 0]), 5, 9, 128)
    write_shard(folder, ShardPlan(0, 1, 8, 0, 5), RowFormat(8, 128), [rows])
    store = BlockStore(tmp_path)
    manifest = store.verify(0)  # the bytes of a shard have not changed since
    assert manifest.rows_by_length == {8: 5}
    assert manifest.packing is None
    assert (manifest.account.repeated, manifest.account.masked, manifest.capacity) == (0, 0, 45)
    assert store.info.rows_in(0) == store.info.rows_in(7) == {8: 5}
    assert store.info.steps(0, 2) == 3
    found = store.info.row_format.decode(store.source(0).__getitems__([4, 0]))
    np.testing.assert_array_equal(found.tokens, rows.tokens[[4, 0]])


def test_format_1_keeps_its_number(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    assert load_dataset(tmp_path / "dataset.json").format_version == 1
    assert load_manifest(tmp_path / "manifest.json").format_version == 1
