import json
import os

import pytest

from data_pipeline import dedup, ingest, recipe
from data_pipeline.config import DataConfig, SourceConfig
from data_pipeline.document import DOCUMENT, DOCUMENTS, INGESTED, QUARANTINED, REMOVED_DOCUMENTS
from data_pipeline.engine import read_partition
from data_pipeline.ingest.stage import document_id
from data_pipeline.ingest.units import PARTITION_BYTES, Unit, count_partitions
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.tables import contents, rows_of, write_jsonl


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    write_jsonl(folder / "rows.jsonl", "An English row.", "   ", "一行中文。")
    write_jsonl(folder / "own.jsonl", "With labels.", domain="law", source="court")
    (folder / "code.py").write_text("x = 1\n")
    (folder / "notes.md").write_text("Some notes.\n")
    (folder / "bad.txt").write_bytes(b"caf\xe9")
    (folder / "scan.pdf").write_bytes(b"%PDF")
    return folder


def run(tmp_path, *sources, name="data", **options):
    config = DataConfig(sources=tuple(SourceConfig(str(source)) for source in sources), **options)
    ingest.run(config, tmp_path / name)
    return tmp_path / name


def test_documents_bear_their_labels(tmp_path, corpus):
    rows = {row["text"]: row for row in rows_of(run(tmp_path, corpus) / INGESTED)}
    labels = {text: (row["source"], row["domain"], row["language"]) for text, row in rows.items()}
    assert labels == {
        "An English row.": ("corpus", "en", "en"),
        "一行中文。": ("corpus", "zh", "zh"),
        "With labels.": ("court", "law", "en"),
        "x = 1\n": ("corpus", "code", "python"),
        "Some notes.\n": ("corpus", "en", "en"),
    }
    assert rows["With labels."]["id"] == document_id("court", "With labels.")


def test_what_cannot_be_read_is_in_quarantine_with_place_and_reason(tmp_path, corpus):
    rows = rows_of(run(tmp_path, corpus) / QUARANTINED)
    found = sorted((os.path.basename(row["file"]), row["row"], row["reason"]) for row in rows)
    assert found == [
        ("bad.txt", 0, "invalid_utf8"),
        ("rows.jsonl", 1, "empty_text"),
        ("scan.pdf", 0, "unknown_file_type"),
    ]


def test_ids_are_what_they_were():
    # printf 'wiki\0春眠不觉晓' | b2sum -l 128; data sets in use refer to documents by their ids.
    assert document_id("wiki", "春眠不觉晓") == "e895b1525b54471c34afe21fbe3bf0c9"


def test_the_same_input_gives_the_same_bytes(tmp_path, corpus):
    first, second = run(tmp_path, corpus, name="a"), run(tmp_path, corpus, name="b")
    assert contents(first) == contents(second)
    assert len(contents(first / INGESTED)) == 8


def test_a_large_file_of_rows_is_spread_over_the_partitions(tmp_path):
    write_jsonl(tmp_path / "big.jsonl", *(f"{i} " + "word " * 60 for i in range(4000)))
    folder = run(tmp_path, tmp_path / "big.jsonl", partitions=3) / INGESTED
    sizes = [read_partition(path).num_rows for path in sorted(folder.glob("part-*.parquet"))]
    assert sizes == [1336, 1332, 1332]
    assert len({row["id"] for row in rows_of(folder)}) == 4000


def test_changed_input_is_read_again(tmp_path, corpus):
    before = rows_of(run(tmp_path, corpus) / INGESTED)
    (corpus / "more.txt").write_text("More text.")
    after = rows_of(run(tmp_path, corpus) / INGESTED)
    assert {row["text"] for row in after} - {row["text"] for row in before} == {"More text."}


def test_a_file_that_two_sources_name_is_read_once(tmp_path, corpus):
    assert len(rows_of(run(tmp_path, corpus / "notes.md", corpus) / INGESTED)) == 5


def test_a_sources_domain_holds_for_all_but_rows_with_their_own(tmp_path, corpus):
    config = DataConfig(sources=(SourceConfig(str(corpus), domain="web"),))
    ingest.run(config, tmp_path / "data")
    domains = {row["text"]: row["domain"] for row in rows_of(tmp_path / "data" / INGESTED)}
    assert (domains["Some notes.\n"], domains["x = 1\n"], domains["With labels."]) == ("web", "web", "law")


def test_empty_partitions_have_the_columns_of_documents(tmp_path, corpus):
    folder = run(tmp_path, corpus / "notes.md", partitions=2) / INGESTED
    assert [read_partition(path).schema for path in sorted(folder.glob("part-*.parquet"))] == [DOCUMENT, DOCUMENT]


def test_nothing_but_bad_input_is_refused_with_the_first_of_it(tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"no document in config.sources; first of 1 .*bad.txt, row 0: invalid_utf8"):
        run(tmp_path, tmp_path / "bad.txt")


def test_metadata_stands_beside_the_text(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", "One.", url="http://x.org", n=2**70)
    write_jsonl(tmp_path / "in2.jsonl", "Two.")
    rows = {row["text"]: row["metadata"] for row in rows_of(run(tmp_path, tmp_path / "in*.jsonl") / INGESTED)}
    assert rows["Two."] is None
    assert json.loads(rows["One."]) == {"url": "http://x.org", "n": pytest.approx(2**70)}


def test_the_same_row_twice_is_two_documents_of_one_id_and_one_is_kept(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", "The same words in one row.", "The same words in one row.", "Other words here.")
    config = DataConfig(sources=(SourceConfig(str(tmp_path / "in.jsonl")),), partitions=2)
    ingest.run(config, tmp_path / "data")
    assert [row["id"] for row in rows_of(tmp_path / "data" / INGESTED)].count(
        document_id("in", "The same words in one row.")
    ) == 2
    recipe.run(config, tmp_path / "data")
    dedup.run(config, tmp_path / "data")
    texts = sorted(row["text"] for row in rows_of(tmp_path / "data" / DOCUMENTS))
    assert texts == ["Other words here.", "The same words in one row."]
    assert len(rows_of(tmp_path / "data" / REMOVED_DOCUMENTS)) == 1


def test_partitions_grow_with_the_input():
    units = [Unit(f"{i}", "text", "s", size_bytes=PARTITION_BYTES) for i in range(20)]
    assert [count_partitions(units[:n]) for n in (0, 8, 9, 20)] == [8, 8, 9, 20]


def test_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path / "in")
    os.makedirs(folder + b"/\xff")
    for name in (b"/\xff/good.txt", b"/bad\xfe.txt"):
        with open(folder + name, "wb") as file:
            file.write(b"A text." if b"good" in name else b"caf\xe9")
    data = run(tmp_path, tmp_path / "in")
    assert [row["source"] for row in rows_of(data / INGESTED)] == [r"in/\xff"]
    assert [os.path.basename(row["file"]) for row in rows_of(data / QUARANTINED)] == [r"bad\xfe.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "utf-9"}, "no encoding 'utf-9'"),
        ({"encoding": "base64"}, "no encoding 'base64'"),
        ({"text_key": "a", "columns": {"text": "b"}}, "leave one out"),
        ({"max_row_bytes": 0}, "max_row_bytes must be positive"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path, options, message):
    config = DataConfig(sources=(SourceConfig(str(tmp_path), **options),))
    with pytest.raises(ConfigError, match=message):
        ingest.run(config, tmp_path / "data")


def test_a_format_reads_what_its_name_hides(tmp_path):
    (tmp_path / "README").write_text("Read me.")
    config = DataConfig(sources=(SourceConfig(str(tmp_path / "README"), format="text"),))
    ingest.run(config, tmp_path / "data")
    assert [row["text"] for row in rows_of(tmp_path / "data" / INGESTED)] == ["Read me."]
