from pathlib import Path

import pytest

from data_pipeline.config import SourceConfig
from data_pipeline.ingest import machine
from data_pipeline.ingest.readers import READERS
from data_pipeline.ingest.row import Bad, Row


@pytest.fixture(scope="module")
def units():
    return machine.machine_units(SourceConfig())


def by_name(units, name):
    return next(unit for unit in units if unit.file.endswith(name))


def test_the_machine_has_megabytes_of_each_source(units):
    size_bytes = {
        source: sum(u.size_bytes for u in units if u.source == source) for source in {u.source for u in units}
    }
    assert size_bytes.keys() == {"stdlib", "stdlib-topics", "package-docs", "sample-zh"}
    assert 5e6 < size_bytes["stdlib"] < 20e6
    assert size_bytes["stdlib-topics"] > 3e5
    assert units == machine.machine_units(SourceConfig())


def test_tests_and_tables_are_left_out(units):
    parts = {part for unit in units if unit.source == "stdlib" for part in Path(unit.file).parts}
    assert not parts & {"test", "idlelib", "lib2to3", "site-packages", "encodings"}


def test_a_module_gives_code_and_english_that_do_not_overlap(units):
    code, english = READERS["library_module"](by_name(units, "/textwrap.py"))
    assert isinstance(code, Row)
    assert isinstance(english, Row)
    assert (code.domain, code.language, english.domain, english.source) == ("code", "python", "en", "stdlib-docstrings")
    assert "Wrap a single paragraph of text" in english.text
    assert "Wrap a single paragraph of text" not in code.text
    assert "class TextWrapper" in code.text


def test_topics_come_one_by_one(units):
    rows = list(READERS["topics"](by_name(units, "topics.py")))
    assert len(rows) > 50
    assert any('The "assert" statement' in row.text for row in rows if isinstance(row, Row))


def test_metadata_gives_the_description_alone(tmp_path):
    path = tmp_path / "METADATA"
    path.write_text("Metadata-Version: 2.1\nName: x\nDescription-Content-Type: text/plain\n\nWhat x does.\n")
    unit = machine._unit(path, "metadata", "package-docs")
    assert [row.text for row in READERS["metadata"](unit) if isinstance(row, Row)] == ["What x does.\n"]


def test_a_module_that_is_no_python_is_set_aside(tmp_path):
    (tmp_path / "bad.py").write_text("def :")
    [bad] = READERS["library_module"](machine._unit(tmp_path / "bad.py", "library_module", "stdlib"))
    assert isinstance(bad, Bad)
    assert bad.reason == "not_python"
