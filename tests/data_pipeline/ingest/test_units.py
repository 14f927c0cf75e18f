import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.config import SourceConfig
from data_pipeline.ingest.units import Unit, files_of, kind_of, share_out
from maxlm.errors import DataError


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.txt", "text"),
        ("a.MD", "text"),
        ("a.py", "code"),
        ("a.jsonl.gz", "jsonl"),
        ("a.json.zst", "json"),
        ("a.parquet", "parquet"),
        ("a.pdf", "unknown"),
        ("README", "unknown"),
        ("a.gz", "unknown"),
    ],
)
def test_kind_by_name(file, kind):
    assert kind_of(file) == kind


def test_a_folder_gives_its_files_sorted_and_named_by_subfolder(tmp_path):
    for name in ("b.txt", "sub/a.py", "a.txt", ".git/x.txt", "__pycache__/a.py", "sub/.hidden.txt"):
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name).write_text("x")
    units = files_of(SourceConfig(str(tmp_path / "corpus")))
    found = [(unit.file.removeprefix(f"{tmp_path}/corpus/"), unit.source) for unit in units]
    assert found == [("a.txt", "corpus"), ("b.txt", "corpus"), ("sub/a.py", "corpus/sub")]


def test_a_file_and_a_glob(tmp_path):
    for name in ("one.txt", "two.txt", "two.md"):
        (tmp_path / name).write_text("x")
    assert [unit.source for unit in files_of(SourceConfig(str(tmp_path / "one.txt")))] == ["one"]
    [unit] = files_of(SourceConfig(str(tmp_path / "t*.txt"), name="mine"))
    assert (unit.file, unit.source) == (str(tmp_path / "two.txt"), "mine")


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "no such file or folder"), ("no*.txt", "no such file or folder"), ("a.pdf", "unknown type of file")],
)
def test_paths_that_lead_nowhere_are_refused(tmp_path, path, message):
    (tmp_path / "a.pdf").write_text("x")
    with pytest.raises(DataError, match=message):
        files_of(SourceConfig(str(tmp_path / path)))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"holds no files; read are .*\.jsonl"):
        files_of(SourceConfig(str(tmp_path)))


@given(st.lists(st.integers(0, 5_000_000), max_size=30), st.integers(1, 8), st.sampled_from(["text", "jsonl"]))
def test_shares_hold_every_row_once(sizes, partitions, kind):
    units = [Unit(f"{i:02d}", kind, "s", size_bytes=size) for i, size in enumerate(sizes)]
    shares = share_out(units, partitions)
    assert len(shares) == partitions
    rows = [(unit.file, row) for share in shares for unit in share for row in range(unit.first, 100, unit.step)]
    assert sorted(rows) == [(unit.file, row) for unit in units for row in range(100)]
    assert shares == share_out(units, partitions)


def test_shares_are_about_equal():
    shares = share_out([Unit(str(i), "text", "s", size_bytes=100 + i) for i in range(40)], 4)
    loads = [sum(unit.size_bytes for unit in share) for share in shares]
    assert max(loads) - min(loads) <= 140
