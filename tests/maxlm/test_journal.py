"""Events are only ever added, and one that a crash cut short spoils no other."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maxlm.errors import DataError
from maxlm.journal import Journal


def test_events_come_back_in_order(tmp_path):
    journal = Journal(tmp_path / "run" / "journal.jsonl")
    assert journal.read() == []
    journal.append("block started", block=1)
    journal.append("note", text="a\nb 中", value=None)
    events = journal.read()
    assert [event["event"] for event in events] == ["block started", "note"]
    assert events[0]["block"] == 1
    assert events[1]["text"] == "a\nb 中"
    assert events[0]["time"].endswith("+00:00")


@given(st.integers(0, 10**6), st.text())
def test_a_line_cut_anywhere_is_left_out_and_the_next_one_counts(tmp_path_factory, cut, text):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    journal.append("first")
    whole = len(path.read_bytes())
    journal.append("second", text=text + "中")
    raw = path.read_bytes()
    cut = whole + cut % (len(raw) - whole)
    path.write_bytes(raw[:cut])
    complete = cut == len(raw) - 1  # all but the line end
    seen = ["first", "second"] if complete else ["first"]
    assert [event["event"] for event in journal.read()] == seen
    journal.append("third")
    assert [event["event"] for event in journal.read()] == [*seen, "third"]


@pytest.mark.parametrize("line", ["[1]", "3", '{"time": 1}', '{"event": 3}'])
def test_a_line_that_is_no_event_is_named(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    Journal(path).append("first")
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"journal\.jsonl, line 2: not an event"):
        Journal(path).read()


def test_a_loss_may_come_to_anything(tmp_path):
    """What a run writes of itself it reads again: an infinite loss, too."""
    journal = Journal(tmp_path / "journal.jsonl")
    for loss in (math.inf, math.nan, 1e30):
        journal.append("evaluated", step=3, **{"validation/loss": loss})
    assert [str(event["validation/loss"]) for event in journal.read()] == ["inf", "nan", "1e+30"]
