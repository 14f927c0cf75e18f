"""What the tool does itself: pieces of documents, and the account of what its commands took."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import proxies


@given(st.lists(st.text(st.sampled_from("ab \n字"), max_size=1500), max_size=6).map("\n".join))
def test_pieces_are_whole_lines_and_lose_nothing(text):
    found = list(proxies.pieces(text))
    assert "".join(found) == text or not text.removeprefix("".join(found)).strip()
    for piece in found:
        assert len(piece) <= proxies.PIECE or len(piece.splitlines()) == 1


def test_costs_are_kept_over_calls(tmp_path, capsys):
    proxies.run(tmp_path, "plans", "maxlm plan --params=1B")
    with pytest.raises(SystemExit) as stopped:
        proxies.run(tmp_path, "plans", "maxlm plan --parms=1B")
    assert stopped.value.code == 2
    lines = [json.loads(line) for line in (tmp_path / proxies.COSTS).read_text().splitlines()]
    assert [line["command"].split()[1] for line in lines] == ["plan", "plan"]
    assert all(0.05 < line["cpu_s"] < 60 and line["wall_s"] > 0.05 for line in lines)
    capsys.readouterr()
    proxies.tell_costs(tmp_path)
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["plans", "in"]
