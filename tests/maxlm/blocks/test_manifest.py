"""A manifest that contradicts itself, or points out of its folder, is never used."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.blocks.manifest import DatasetInfo, TokenAccount, load_dataset, load_manifest, save
from maxlm.errors import DataError
from tests.maxlm.blocks import made


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def manifest_path(tmp_path):
    made.block(tmp_path)
    return tmp_path / "blocks/block-00000/manifest.json"


def test_a_manifest_survives_its_file(tmp_path, manifest_path):
    manifest = made.block(tmp_path)
    assert load_manifest(manifest_path) == manifest


COUNTS = st.integers(0, 10**12)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_accounts_that_balance_pass_and_no_other(written, truncated, padded, repeated):
    account = TokenAccount(written + truncated, written, truncated, padded, repeated, masked=written // 2)
    capacity = written + padded + repeated
    account.check(capacity, "here")
    for name in ("selected", "padded", "truncated", "repeated"):
        wrong = dataclasses.replace(account, **{name: getattr(account, name) + 1})
        with pytest.raises(DataError, match="here: the token account does not balance"):
            wrong.check(capacity, "here")
    with pytest.raises(DataError, match="a count that can't be"):
        dataclasses.replace(account, masked=written + 1).check(capacity, "here")


def test_a_negative_count_does_not_balance():
    with pytest.raises(DataError, match="count that can't be"):
        TokenAccount(selected=20, written=20, truncated=0, padded=-10).check(10, "here")


def test_an_unbalanced_account_is_refused_on_reading(manifest_path):
    edit(manifest_path, account={"selected": 171, "written": 160, "truncated": 10, "padded": 0})
    with pytest.raises(DataError, match=r"manifest\.json: the token account does not balance: selected 171"):
        load_manifest(manifest_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", ".hidden", "", "shard\n", "a\\..\\b "])
def test_shards_lie_in_the_blocks_own_folder(manifest_path, name):
    shards = json.loads(manifest_path.read_text())["shards"]
    edit(manifest_path, shards=[{**shards[0], "file": name}, *shards[1:]])
    with pytest.raises(DataError, match="no plain file name"):
        load_manifest(manifest_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 3}, "block format 3; this program reads 1 to 2"),
        ({"rows": 11}, "do not sum to 11"),
        ({"domain_tokens": {"en": 159}}, "domain_tokens do not sum"),
        ({"source_tokens": {}}, "source_tokens do not sum"),
        ({"rows": "ten"}, "expected int"),
        ({"seq_len": 16}, "rows of 15 do not divide seq_len 16"),
        ({"shards": 3}, "expected a list"),
        ({"tokenizer_digist": "x"}, "did you mean 'tokenizer_digest'"),
    ],
)
def test_what_is_wrong_is_named(manifest_path, changes, message):
    edit(manifest_path, **changes)
    with pytest.raises(DataError, match=message):
        load_manifest(manifest_path)


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_a_damaged_manifest_names_its_file(manifest_path, raw):
    manifest_path.write_bytes(raw)
    with pytest.raises(DataError, match=r"block-00000/manifest\.json"):
        load_manifest(manifest_path)


def test_a_manifest_that_lacks_a_field(manifest_path):
    value = json.loads(manifest_path.read_text())
    del value["seed"]
    manifest_path.write_text(json.dumps(value))
    with pytest.raises(DataError, match="needs seed"):
        load_manifest(manifest_path)


def test_dataset_json(tmp_path):
    with pytest.raises(DataError, match="maxlm-data produce makes one"):
        load_dataset(tmp_path / "dataset.json")
    info = dataclasses.replace(made.INFO, creation={"mixture": {"en": 0.5}, "sources": [{"path": "x"}]})
    save(tmp_path / "dataset.json", info)
    assert load_dataset(tmp_path / "dataset.json") == info
    with pytest.raises(DataError, match="255 domains"):
        save(tmp_path / "other.json", DatasetInfo("a", 256, 15, ({"15": 10},), tuple(f"d{i}" for i in range(255))))
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((), "no rows of any length"),
        (({"x": 3},), "no rows of any length"),
        (({"15": 3, "4": 3},), r"rows of \[15, 4\] do not all divide seq_len 15"),
        (({"0": 3},), r"rows of \[0\] do not all divide"),
    ],
)
def test_lengths_that_cannot_be(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        save(tmp_path / "dataset.json", dataclasses.replace(made.INFO, rows=rows))


def test_rows_and_steps_of_blocks():
    info = dataclasses.replace(made.INFO, rows=({"15": 4}, {"15": 4, "5": 12, "3": 21}))
    assert info.lengths == [15, 5, 3]
    assert info.rows_in(0) == {15: 4}
    assert list(info.rows_in(1).items()) == list(info.rows_in(9).items()) == [(15, 4), (5, 12), (3, 21)]
    assert [info.batch_of(length, 2) for length in info.lengths] == [2, 6, 10]
    assert (info.steps(0, 2), info.steps(1, 2)) == (2, 2 + 2 + 3)  # the last batch is part empty
