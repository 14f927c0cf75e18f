"""Uses are counted exactly once per finished block, given back once per skipped one, whatever is killed."""

import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.mix.ledger import Ledger, skipped_blocks
from maxlm.errors import DataError
from maxlm.journal import Journal

DOCUMENTS = 20


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, "digest", DOCUMENTS)


def test_plans_and_their_documents_stay(ledger, tmp_path):
    plan = ledger.record(0, np.array([3, 1, 3]), (10, 20), seed=7)
    assert (plan.start, plan.end, plan.budgets, plan.seed) == (0, 3, (10, 20), 7)
    assert ledger.record(1, np.array([5]), (1,), seed=7).start == 3
    again = Ledger(tmp_path, "digest", DOCUMENTS)
    assert again.plan(0) == plan
    assert again.documents(0).tolist() == [3, 1, 3]
    assert again.documents(1).tolist() == [5]
    assert again.plan(2) is None


def test_a_second_attempt_takes_the_first_ones_place(ledger):
    ledger.record(0, np.array([1, 2]), (1,), seed=0)
    ledger.record(1, np.array([3, 4, 5]), (1,), seed=0)
    assert ledger.record(1, np.array([6]), (1,), seed=0).start == 2
    assert ledger.documents(0).tolist() == [1, 2]
    assert ledger.documents(1).tolist() == [6]
    # Block 0 is no longer the last: its old place holds no more than it did, so a new one is taken.
    assert ledger.record(0, np.array([7, 8, 9]), (1,), seed=0).start == 3
    assert ledger.documents(1).tolist() == [6]


def test_uses_follow_blocks_and_skips(ledger):
    ledger.record(0, np.array([3, 1, 3]), (1,), seed=0)
    ledger.record(1, np.array([3, 2]), (1,), seed=0)
    finished = set()

    def settle(*skipped):
        changed = ledger.reconcile(finished.__contains__, set(skipped))
        return changed, ledger.uses()[:4].tolist(), ledger.applied()

    assert settle() == ({}, [0, 0, 0, 0], [])
    finished.add(0)
    assert settle() == ({0: 1}, [0, 1, 0, 2], [0])
    assert settle() == ({}, [0, 1, 0, 2], [0])
    finished.add(1)
    assert settle(0) == ({0: -1, 1: 1}, [0, 0, 1, 1], [1])
    assert settle(0, 1, 17) == ({1: -1}, [0, 0, 0, 0], [])
    assert settle(1) == ({0: 1}, [0, 1, 0, 2], [0])
    finished.clear()  # files removed to save space: what was trained on stays counted
    assert settle(1) == ({}, [0, 1, 0, 2], [0])


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["finish", "skip", "unskip", "reopen"])), max_size=12))
def test_uses_are_always_those_of_the_blocks_that_count(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("ledger")
    ledger = Ledger(folder, "digest", DOCUMENTS)
    rng = np.random.default_rng(0)
    documents = {block: rng.integers(0, DOCUMENTS, 6) for block in range(4)}
    for block, ordinals in documents.items():
        ledger.record(block, ordinals, (1,), seed=0)
    finished: set[int] = set()
    skipped: set[int] = set()
    for block, step in steps:
        if step == "reopen":
            ledger = Ledger(folder, "digest", DOCUMENTS)
        elif step == "finish":
            finished.add(block)
        elif step == "skip":
            skipped.add(block)
        else:
            skipped.discard(block)
        ledger.reconcile(finished.__contains__, skipped)
        expected = np.zeros(DOCUMENTS, int)
        for counted in finished - skipped:
            np.add.at(expected, documents[counted], 1)
        assert ledger.uses().tolist() == expected.tolist()


def test_other_documents_are_refused(ledger, tmp_path):
    for digest, count in (("other", DOCUMENTS), ("digest", DOCUMENTS + 1)):
        with pytest.raises(DataError, match=r"ledger: the documents changed since the first block .*begin anew"):
            Ledger(tmp_path, digest, count)
    Ledger(tmp_path, "digest", DOCUMENTS)


def test_a_damaged_ledger_is_named(ledger, tmp_path):
    (tmp_path / "ledger/manifest.ocdbt").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="ledger: damaged"):
        Ledger(tmp_path, "digest", DOCUMENTS)


def test_skips_are_those_that_no_run_took_back(tmp_path):
    assert skipped_blocks(tmp_path) == set()
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("skip", block=3, reader="a")
    journal.append("skip", block=3, reader="b")
    journal.append("skip", block=5, reader="a")
    journal.append("something else", block="x")
    assert skipped_blocks(tmp_path) == {3, 5}
    journal.append("unskip", block=3, reader="a")
    journal.append("unskip", block=5, reader="a")
    assert skipped_blocks(tmp_path) == {3}
    journal.append("skip", block="five", reader="a")
    with pytest.raises(DataError, match="a skip without the number of a block"):
        skipped_blocks(tmp_path)


def test_every_state_that_the_database_ever_had_is_in_step(ledger, tmp_path):
    """OCDBT keeps its past versions: they are all the states in which a crash can leave it."""
    documents = {block: np.arange(block, DOCUMENTS, 3) for block in range(3)}
    for block, ordinals in documents.items():
        ledger.record(block, ordinals, (1,), seed=0)
        ledger.reconcile(lambda number: True, ())
    ledger.reconcile(lambda number: True, {1})
    seen = set()
    for uses, applied in versions(tmp_path):
        expected = np.zeros(DOCUMENTS, int)
        for block in np.flatnonzero(applied).tolist():
            np.add.at(expected, documents[block], 1)
        assert uses.tolist() == expected.tolist()
        seen.add(tuple(applied.tolist()))
    assert seen == {(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)}


def versions(dataset):
    """(uses, applied) in each version of the database that has them, oldest first."""
    for version in itertools.count(1):
        kvstore = {"driver": "ocdbt", "base": f"file://{dataset}/ledger/", "version": version}
        try:
            keys = ts.KvStore.open(kvstore).result().list().result()
        except ValueError:  # no such version: that was the last one
            return
        if b"applied/zarr.json" in keys:
            arrays = [
                ts.open({"driver": "zarr3", "kvstore": {**kvstore, "path": f"{name}/"}}).result()
                for name in ("uses", "applied")
            ]
            yield arrays[0].read().result(), arrays[1][:3].read().result()


WRITER = """if True:
    import sys
    import numpy as np
    from data_pipeline.mix.ledger import Ledger
    ledger = Ledger(sys.argv[1], "digest", 200_000)
    block = len(ledger.applied())
    print("ready", flush=True)
    while True:
        ledger.record(block, np.arange(block, 200_000, 3), (1,), seed=0)
        ledger.reconcile(lambda number: True, ())
        block += 1
"""


def test_a_killed_writer_leaves_uses_and_applied_blocks_in_step(tmp_path):
    for delay in (0.0, 0.05, 0.13):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        ledger = Ledger(tmp_path, "digest", 200_000)
        expected = np.zeros(200_000, int)
        for block in ledger.applied():
            assert ledger.documents(block).tolist() == list(range(block, 200_000, 3))
            expected[block::3] += 1
        assert (ledger.uses() == expected).all()
    assert len(ledger.applied()) > 0
