import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from data_pipeline import dedup, ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.removed import passage, quarantine_samples, removed_samples
from data_pipeline.report.collect import REPORT, corpus_report
from data_pipeline.report.page import corpus_page
from data_pipeline.report.tables import print_report
from maxlm.errors import DataError
from tests.data_pipeline.tables import write_jsonl


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that ingests a small corpus and runs further stages over it."""
    folder = tmp_path_factory.mktemp("report")
    write_jsonl(folder / "in" / "a.jsonl", "mail a@b.com or c@d.com", "short", " ", language="en")
    write_jsonl(folder / "in" / "b.jsonl", "中文一句话", "中文一句话", language="zh")
    (folder / "in" / "c.txt").write_bytes(b"\xff")
    steps = (OperatorConfig("redact"), OperatorConfig("length", ("en",), params={"min_words": 3}))
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
    assert report["removed"]["domain"] == {
        "en": {"length": {"too_few_words": {"documents": 1, "characters": 5, "bytes": 5}}},
        "zh": {"dedup": {"exact_duplicate": {"documents": 1, "characters": 5, "bytes": 15}}},
    }
    assert report["kept"]["language"]["en"] == {"documents": 1, "characters": 23, "bytes": 23}
    assert report["funnel"] == [
        {"operator": "length", "documents": 1, "characters": 5, "bytes": 5},
        {"operator": "dedup", "documents": 1, "characters": 5, "bytes": 15},
    ]
    assert [i for i, count in enumerate(report["lengths"]["ingested"]["en"]) if count] == [2, 4]  # 5 and 23 characters
    assert json.loads((run() / REPORT).read_text()) == report


def test_nothing_vanishes_uncounted(run):
    report = corpus_report(run(ingest, recipe, dedup))
    removed = sum(
        sizes["documents"]
        for operators in report["removed"]["domain"].values()
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


def test_the_page_shows_the_numbers_and_samples_and_escapes_text(run):
    dataset = run(ingest, recipe, dedup)
    samples = removed_samples(dataset, 3)
    samples[0] = {**samples[0], "text": "all <b>of</b> it", "start": 4, "end": 13}
    page = corpus_page(corpus_report(dataset), samples, "a & b")
    for part in ("Funnel", "too_few_words", "−1", "<mark>&lt;b&gt;of&lt;/b&gt;</mark>", "a &amp; b", "invalid_utf8"):
        assert part in page
    assert "<b>" not in page
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


class Balanced(HTMLParser):
    """Keeps the stack of open elements; one that is closed out of order stays on it."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0, ("0123456789" * 30 + "…", "", "")),
        (400, 403, ("…" + "0123456789" * 15, "012", "3456789" + "0123456789" * 14 + "012…")),
        (0, 500, ("", "0123456789" * 30 + "…", "0123456789" * 10)),
    ],
)
def test_the_passage_is_shown_between_its_surroundings(start, end, expected):
    assert passage({"text": "0123456789" * 60, "start": start, "end": end}) == expected


def test_samples_of_what_was_removed(run):
    dataset = run(ingest, recipe, dedup)
    assert [row["reason"] for row in removed_samples(dataset, 5)] == ["exact_duplicate", "too_few_words"]
    [row] = removed_samples(dataset, 5, "too_few_words")
    assert row["text"] == "short"
    with pytest.raises(DataError, match="'too_few_word'; did you mean 'too_few_words'"):
        removed_samples(dataset, 5, "too_few_word")
    assert [row["reason"] for row in quarantine_samples(dataset, 5)] == ["empty_text", "invalid_utf8"]
