"""Uses are counted exactly once per finished block, given back once per skipped one, whatever is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.mix import ledger as ledger_module
from data_pipeline.mix.ledger import Ledger, skipped_blocks
from data_pipeline.mix.uses import UsesArray
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


@pytest.mark.parametrize("file", ["ledger.json", "counted.json", "plans/0000000.json"])
def test_a_damaged_ledger_is_named(ledger, tmp_path, file):
    filled(ledger, {0: [1, 2]})
    (tmp_path / "ledger" / file).write_bytes(b"nonsense")
    with pytest.raises(DataError, match=rf"{file}: not valid JSON \(ledger\)"):
        Ledger(tmp_path, "digest", DOCUMENTS)
    (tmp_path / "ledger" / file).write_text('{"seed": "x", "generation": "y"}')
    with pytest.raises(DataError, match="ledger"):
        Ledger(tmp_path, "digest", DOCUMENTS)


def test_a_damaged_journal_is_named(ledger, tmp_path):
    filled(ledger, {0: [1, 2]})
    (chunk,) = (tmp_path / "ledger/journal").rglob("c/0")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:5])
    with pytest.raises(DataError, match=r"journal/0000000-.*: damaged, or out of reach"):
        ledger.documents(0)
    chunk.unlink()  # tensorstore reads what isn't there as zeros
    with pytest.raises(DataError, match=r"journal/0000000-.*: not the documents that block 0 was made of"):
        ledger.documents(0)


def test_lost_uses_are_noticed_and_counted_anew(ledger, tmp_path):
    filled(ledger, {0: [1, 2, 2], 1: [0, 2]})
    ledger.check_uses()
    for chunk in (tmp_path / "ledger/uses").rglob("c/0"):
        chunk.unlink()
    ledger = Ledger(tmp_path, "digest", DOCUMENTS)
    with pytest.raises(DataError, match=r"0 uses are counted, and the 2 blocks that count have 5: .*ledger --rebuild"):
        ledger.check_uses()
    assert ledger.rebuild() == 5
    ledger.check_uses()
    assert ledger.uses()[:4].tolist() == [1, 1, 3, 0]
    assert Ledger(tmp_path, "digest", DOCUMENTS).uses()[:4].tolist() == [1, 1, 3, 0]


def test_counting_anew_without_blocks(ledger, tmp_path):
    filled(ledger, {0: [1, 2]})
    ledger.reconcile(lambda block: True, {0})
    assert ledger.rebuild() == 0
    again = Ledger(tmp_path, "digest", DOCUMENTS)
    again.check_uses()
    assert again.uses().sum() == 0
    assert filled(again, {1: [5]}) is None
    assert again.uses()[5] == 1


def test_uses_that_do_not_fit_are_refused(ledger):
    most = np.iinfo(np.uint16).max
    filled(ledger, {0: [7] * most})
    assert ledger.uses()[7] == most
    ledger.record(1, np.array([7]), (1,), seed=0)
    with pytest.raises(DataError, match="document 7 would be used more than 65535 times"):
        ledger.reconcile(lambda block: True, ())
    assert Ledger(ledger.folder.parent, "digest", DOCUMENTS).applied() == [0]


def test_the_blocks_right_before(ledger):
    filled(ledger, {0: [1], 1: [2], 2: [3], 3: [4]}, skipped={2})  # blocks of 30 tokens
    assert [part.tolist() for part in ledger.before(4, 1)] == [[4]]
    assert [part.tolist() for part in ledger.before(4, 31)] == [[4], [2]]
    assert [part.tolist() for part in ledger.before(3, 61)] == [[2], [1]]
    assert ledger.before(4, 0) == []
    assert ledger.before(0, 100) == []


def test_the_disk_holds_one_generation(ledger, tmp_path):
    for block in range(12):
        filled(ledger, {block: range(DOCUMENTS)})
    assert len(list((tmp_path / "ledger/uses").iterdir())) == 1
    assert len(list((tmp_path / "ledger/journal").iterdir())) == 12
    assert ledger.uses().tolist() == [12] * DOCUMENTS


def filled(ledger, blocks, skipped=()):
    """Notes blocks of 30 tokens and counts them."""
    for block, ordinals in blocks.items():
        ledger.record(block, np.array(ordinals), (10, 20), seed=0)
    ledger.reconcile(lambda block: True, set(skipped))


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
    with pytest.raises(DataError, match="'skip' with 'block' 'five'"):
        skipped_blocks(tmp_path)


def test_every_state_that_the_folder_ever_has_is_in_step(tmp_path, monkeypatch):
    """A copy of the folder before and after each thing that is done to it: what a kill there leaves behind."""
    copies = []

    def copied(function):
        def wrapped(*args, **kwargs):
            copies.append(shutil.copytree(tmp_path / "now", tmp_path / f"copy-{len(copies)}"))
            result = function(*args, **kwargs)
            copies.append(shutil.copytree(tmp_path / "now", tmp_path / f"copy-{len(copies)}"))
            return result

        return wrapped

    (tmp_path / "now").mkdir()
    for owner, name in ((ledger_module, "write_json"), (ledger_module, "open_array"), (UsesArray, "fill")):
        monkeypatch.setattr(owner, name, copied(getattr(owner, name)))
    monkeypatch.setattr(type(epath.Path(tmp_path)), "rmtree", copied(type(epath.Path(tmp_path)).rmtree))
    documents = {block: np.arange(block, DOCUMENTS, 3) for block in range(3)}

    def write(folder):
        ledger = Ledger(folder, "digest", DOCUMENTS)
        for block, ordinals in documents.items():
            ledger.record(block, ordinals, (1,), seed=0)
            ledger.reconcile(lambda number: True, ())
        ledger.reconcile(lambda number: True, {1})
        return ledger.uses().tolist()

    final = write(tmp_path / "now")
    monkeypatch.undo()
    seen = set()
    for copy in {tuple(contents(copy)): copy for copy in copies}.values():  # each state once
        ledger = Ledger(copy, "digest", DOCUMENTS)
        ledger.check_uses()
        assert ledger.uses().tolist() == expected(documents, ledger.applied())
        for block in ledger.planned():
            assert ledger.documents(block).tolist() == documents[block].tolist()
        assert len(list((copy / "ledger/uses").glob("*"))) <= 1  # what a crash left is gone
        seen.add(tuple(ledger.applied()))
        assert write(copy) == final
        assert len(list((copy / "ledger/journal").iterdir())) == 3
    assert seen == {(), (0,), (0, 1), (0, 1, 2), (0, 2)}


def contents(folder):
    """All there is in a folder."""
    return [(path.relative_to(folder), path.is_file() and path.read_bytes()) for path in sorted(folder.rglob("*"))]


def expected(documents, blocks):
    uses = np.zeros(DOCUMENTS, int)
    for block in blocks:
        np.add.at(uses, documents[block], 1)
    return uses.tolist()


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
    for delay in (0.0, 0.1, 0.4):
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
