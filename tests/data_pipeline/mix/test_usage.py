"""The list of documents that blocks were made of, against a count by hand."""

from collections import Counter

import pyarrow.parquet as pq
import pytest

from data_pipeline.mix.usage import write_usage
from data_pipeline.produce import producer
from maxlm.errors import DataError
from tests.data_pipeline.produce import made
from tests.runs import maxlm_data


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = made.dataset(tmp_path_factory.mktemp("usage"))
    producer.run(made.config(num_blocks=3), folder)
    return folder


def _ids(dataset) -> list[str]:
    return [
        i for path in sorted((dataset / "documents").glob("*.parquet")) for i in pq.read_table(path)["id"].to_pylist()
    ]


@pytest.mark.parametrize("blocks", [[0], [0, 2], [0, 1, 2]])
def test_every_use_is_there_once(dataset, tmp_path, blocks):
    ledger, ids = made.open_ledger(dataset), _ids(dataset)
    expected = Counter(ids[ordinal] for block in blocks for ordinal in ledger.documents(block).tolist())
    counted = write_usage(dataset, blocks, tmp_path / "list.parquet")
    table = pq.read_table(tmp_path / "list.parquet").to_pydict()
    assert dict(zip(table["id"], table["uses"], strict=True)) == expected
    assert counted == (len(expected), expected.total())
    assert set(table["domain"]) <= {"en", "code", "zh"}


def test_a_block_that_nobody_made(dataset, tmp_path):
    with pytest.raises(DataError, match=r"no plan of block 9; known: 0 to 2"):
        write_usage(dataset, [0, 9], tmp_path / "list.parquet")


def test_as_typed(dataset, tmp_path):
    done = maxlm_data("ledger", f"--dataset={dataset}", "--blocks=0,1", f"--list={tmp_path / 'list.parquet'}")
    assert done.returncode == 0, done.stderr
    assert "in 2 blocks" in done.stdout
    for wrong, message in (("--blocks=0", "go together"), ("--list=x --blocks=a", "expected numbers with commas")):
        failed = maxlm_data("ledger", f"--dataset={dataset}", *wrong.split())
        assert failed.returncode == 2
        assert message in failed.stderr
