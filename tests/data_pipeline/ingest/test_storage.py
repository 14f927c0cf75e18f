import os

import pytest

from data_pipeline.config import SourceConfig
from data_pipeline.ingest import storage
from data_pipeline.ingest.readers import read
from data_pipeline.ingest.row import Row
from data_pipeline.ingest.units import files_of, share_out
from maxlm.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "sub/d.md", ".hidden/e.txt", "sub/.f.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(f"text of {name}")
    return tmp_path / "in"


@pytest.mark.parametrize("pattern", ["", "/sub", "/a.txt", "/*.txt", "/**/*.txt", "/sub/*", "/s?b/[bd].*", "/nothing"])
def test_an_address_names_the_same_files_as_a_path(folder, pattern):
    """file:// goes through the door that gs:// and s3:// take."""
    local, remote = storage.list_files(f"{folder}{pattern}")[1], storage.list_files(f"file://{folder}{pattern}")[1]
    assert [file.removeprefix("file://") for file in remote] == local


def test_units_of_an_address_are_those_of_the_path(folder):
    local = files_of(SourceConfig(str(folder)))
    remote = files_of(SourceConfig(f"file://{folder}"))
    assert [(u.source, u.kind, u.size_bytes) for u in remote] == [(u.source, u.kind, u.size_bytes) for u in local]
    assert [list(read(unit)) for unit in remote] == [list(read(unit)) for unit in local]


def test_shares_of_a_remote_file_make_the_file(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{i} {"x" * 500}"}}\n' for i in range(4000)))
    units = files_of(SourceConfig(f"file://{tmp_path}/a.jsonl"))
    rows = [[row.text for unit in share for row in read(unit) if isinstance(row, Row)] for share in share_out(units, 3)]
    assert min(map(len, rows)) > 1300
    assert sorted(int(text.split()[0]) for share in rows for text in share) == list(range(4000))


def test_a_remote_file_that_is_gone_is_set_aside(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    [unit] = files_of(SourceConfig(f"file://{tmp_path}/a.txt"))
    (tmp_path / "a.txt").unlink()
    [bad] = read(unit)
    assert (bad.reason, bad.sample) == ("unreadable", "no such object")


def test_an_address_of_no_known_kind_is_refused():
    with pytest.raises(DataError, match=r"nowhere://bucket: cannot be reached: "):
        files_of(SourceConfig("nowhere://bucket/x"))


def test_links_to_folders_are_followed_once(folder):
    (folder / "again").symlink_to(folder / "sub")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "other").symlink_to(folder.parent / "elsewhere")
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "g.txt").write_text("x")
    found = [os.path.relpath(file, folder) for file in storage.walk(str(folder))]
    assert found == ["a.txt", "again/b.txt", "again/d.md", "again/deep/c.txt", "other/g.txt"]


def test_a_folder_that_cannot_be_listed_is_refused(folder):
    (folder / "sub").chmod(0)
    mine = os.geteuid()
    if mine == 0:  # root may list anything: be somebody else, whom the folders above let pass
        for above in (folder, *folder.parents[:-2]):
            above.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"sub: cannot be listed: Permission denied"):
            list(storage.walk(str(folder)))
    finally:
        os.seteuid(mine)
        (folder / "sub").chmod(0o755)


def test_a_fault_of_the_disk_is_no_fault_of_the_file():
    """Memory that isn't mapped reads as an input/output error."""
    with pytest.raises(DataError, match=r"/proc/self/mem: reading failed: .*; run again, or take the file away"):
        storage.open_raw("/proc/self/mem").read(10)
