import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline import engine, exchange
from maxlm.errors import DataError
from tests.data_pipeline.tables import contents

NAMES = engine.partition_names(3)
keys = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30)


def rows(numbers):
    return pa.table(
        {"key": pa.array(numbers, pa.int64()), "text": pa.array([f"row {n}" for n in numbers], pa.string())}
    )


def exchanged(folder, inputs, partitions=4, size_bytes=0):
    stage = engine.Stage("test", (folder,), "d")
    exchange.exchange(stage, rows, dict(zip(NAMES, inputs, strict=True)), "key", partitions, size_bytes)


def test_equal_keys_meet_in_one_partition_in_the_order_of_files_and_rows(tmp_path):
    inputs = [[5, 1, 7, 5], [], [7, 2, 5]]
    exchanged(tmp_path, inputs)
    found = [exchange.gather(tmp_path, number)["key"].to_pylist() for number in range(4)]
    where = exchange.partition_of(np.array([5, 1, 7, 2]), 4)
    for number, part in enumerate(found):
        here = {key for key, to in zip([5, 1, 7, 2], where, strict=True) if to == number}
        assert part == [key for numbers in inputs for key in numbers if key in here]


def test_columns_can_be_chosen(tmp_path):
    exchanged(tmp_path, [[1, 2], [3], []], partitions=1)
    assert exchange.gather(tmp_path, 0, ["text"]).to_pydict() == {"text": ["row 1", "row 2", "row 3"]}


def test_processes_send_the_same_bytes(tmp_path):
    for name, size_bytes in (("here", 0), ("there", 10**9)):
        exchanged(tmp_path / name, [[5, 1], [7, 5], [2]], size_bytes=size_bytes)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


@given(keys, st.integers(1, 7))
def test_scattered_rows_are_all_there_by_partition(numbers, partitions):
    scattered = exchange.scatter(rows(numbers), "key", partitions)
    assert len(scattered.counts) == partitions
    assert sorted(scattered.table["key"].to_pylist()) == sorted(numbers)
    targets = exchange.partition_of(scattered.table["key"].to_numpy(), partitions)
    assert targets.tolist() == [number for number, count in enumerate(scattered.counts) for _ in range(count)]


def test_partitions_are_the_same_everywhere_and_evenly_filled():
    """Sizes and places on disk depend on it: another hash is another format."""
    assert exchange.partition_of(np.array([0, 1, 2, 2**62, -1]), 8).tolist() == [0, 4, 5, 2, 1]
    counts = np.bincount(exchange.partition_of(np.arange(80_000) << 32, 8))
    assert counts.min() > 9_500
    assert counts.max() < 10_500


def test_a_file_that_is_missing_is_named(tmp_path):
    exchanged(tmp_path, [[1], [2], [3]])
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(DataError, match=f"{NAMES[1]}: no such partition"):
        exchange.gather(tmp_path, 0)
