import io
import json

import pytest
from rich.console import Console

from data_pipeline import dedup, ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.removed import quarantine_samples, removed_samples
from data_pipeline.report import REPORT, corpus_report, print_report
from maxlm.errors import DataError
from tests.data_pipeline.tables import write_jsonl


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that ingests a small corpus and runs further stages over it."""
    folder = tmp_path_factory.mktemp("report")
    write_jsonl(folder / "in" / "a.jsonl", "mail a@b.com or c@d.com", "中文一句话", "中文一句话", "short", " ")
    (folder / "in" / "b.txt").write_bytes(b"\xff")
    steps = (OperatorConfig("redact"), OperatorConfig("length", ("en",), {"min_words": 3}))
    config = DataConfig(sources=(SourceConfig(str(folder / "in")),), recipe=steps, partitions=2)

    def stages(*modules):
        for module in modules:
            module.run(config, folder / "data")
        return folder / "data"

    return stages


def test_report_grows_with_the_stages(run):
    with pytest.raises(DataError, match="run `maxlm-data ingest` first"):
        corpus_report(run())
    report = corpus_report(run(ingest))
    assert report["ingested"]["domain"] == {
        "en": {"documents": 2, "characters": 28, "bytes": 28},
        "zh": {"documents": 2, "characters": 10, "bytes": 30},
    }
    assert report["ingested"]["total"] == {"documents": 4, "characters": 38, "bytes": 58}
    assert report["quarantine"] == {"empty_text": 1, "invalid_utf8": 1}
    assert (report["kept"], report["removed"], report["edits"]) == ({}, {}, {})

    report = corpus_report(run(recipe, dedup))
    assert report["edits"] == {"en": {"redact.email": 2}}
    assert report["removed"] == {
        "en": {"length": {"too_few_words": {"documents": 1, "characters": 5, "bytes": 5}}},
        "zh": {"dedup": {"exact_duplicate": {"documents": 1, "characters": 5, "bytes": 15}}},
    }
    assert report["kept"]["language"]["en"] == {"documents": 1, "characters": 23, "bytes": 23}
    assert json.loads((run() / REPORT).read_text()) == report


def test_nothing_vanishes_uncounted(run):
    report = corpus_report(run(ingest, recipe, dedup))
    removed = sum(
        sizes["documents"]
        for operators in report["removed"].values()
        for reasons in operators.values()
        for sizes in reasons.values()
    )
    assert report["ingested"]["total"]["documents"] == report["kept"]["total"]["documents"] + removed


def test_printed_tables_hold_the_numbers(run):
    console = Console(file=io.StringIO(), width=120)
    print_report(corpus_report(run(ingest, recipe, dedup)), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("Corpus by domain", "too_few_words", "exact_duplicate", "en redact.email", "invalid_utf8", "50.0 %"):
        assert part in text


def test_samples_of_what_was_removed(run):
    dataset = run(ingest, recipe, dedup)
    assert [row["reason"] for row in removed_samples(dataset, 5)] == ["exact_duplicate", "too_few_words"]
    [row] = removed_samples(dataset, 5, "too_few_words")
    assert row["text"] == "short"
    with pytest.raises(DataError, match="'too_few_word'; did you mean 'too_few_words'"):
        removed_samples(dataset, 5, "too_few_word")
    assert [row["reason"] for row in quarantine_samples(dataset, 5)] == ["empty_text", "invalid_utf8"]
