"""Blocks made anew because a run went back behind them: other documents, and the ledger as if the first never were."""

import numpy as np
import pytest

from data_pipeline.produce import producer
from maxlm.blocks.reader import BlockStore
from maxlm.journal import Journal
from tests.data_pipeline.produce import made


def ask(dataset, from_block):
    Journal(dataset / "journal.jsonl").append("redraw", from_block=from_block, reader="run")


@pytest.fixture
def dataset(tmp_path):
    made.dataset(tmp_path)
    producer.run(made.config(num_blocks=3), tmp_path)
    return tmp_path


def uses_by_plans(dataset) -> np.ndarray:
    ledger = made.open_ledger(dataset)
    ordinals = np.concatenate([ledger.documents(block) for block in ledger.applied()])
    return np.bincount(ordinals, minlength=ledger.documents_in_all)


def test_only_what_was_asked_for_is_made_anew(dataset):
    before, store = made.block_bytes(dataset), BlockStore(dataset)
    ask(dataset, 1)
    assert [store.ready(block) for block in range(3)] == [True, False, False]  # no run reads the old ones any more
    producer.run(made.config(num_blocks=3), dataset)
    assert all(store.ready(block) for block in range(3))
    after = made.block_bytes(dataset)
    assert {path for path in before if before[path] != after[path]} == {
        path for path in before if "block-00001" in path or "block-00002" in path
    }
    assert [store.manifest(block).draw for block in range(3)] == [0, 1, 1]
    ledger = made.open_ledger(dataset)
    assert ledger.applied() == [0, 1, 2]
    assert (ledger.uses() == uses_by_plans(dataset)).all()
    ledger.check_uses()


def test_with_another_mixture(dataset):
    ask(dataset, 2)
    producer.run(made.config({"en": 1.0}, num_blocks=3), dataset)
    store = BlockStore(dataset)
    assert set(store.manifest(2).domain_tokens) == {"en"}
    assert set(store.manifest(1).domain_tokens) == {"en", "code", "zh"}


def test_twice_differs_from_once_and_is_the_same_again(dataset, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    made.dataset(other)
    for folder in (dataset, other):
        ask(folder, 1)
    producer.run(made.config(num_blocks=3), dataset)
    once = made.block_bytes(dataset)
    for folder in (dataset, other):
        ask(folder, 1)
        producer.run(made.config(num_blocks=3), folder)
    twice = made.block_bytes(dataset)
    assert once != twice
    assert twice == made.block_bytes(other)  # whatever was made in between


def test_a_crash_in_the_middle_of_forgetting(dataset, tmp_path_factory):
    """Files gone, uses not yet given back: the next start makes up for it."""
    ask(dataset, 1)
    made.remove_block(dataset, 2)
    ledger = made.open_ledger(dataset)
    ledger._apply(2, -1)  # and here the power went
    producer.run(made.config(num_blocks=3), dataset)
    found = made.block_bytes(dataset)
    assert (made.open_ledger(dataset).uses() == uses_by_plans(dataset)).all()
    whole = made.dataset(tmp_path_factory.mktemp("whole"))
    producer.run(made.config(num_blocks=3), whole)
    ask(whole, 1)
    producer.run(made.config(num_blocks=3), whole)
    assert made.block_bytes(whole) == found
