import json
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline import attributes, engine, ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SegmentsConfig, SourceConfig
from data_pipeline.document import INGESTED
from data_pipeline.ingest.stage import document_id
from data_pipeline.segments import stage as segments
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.tables import contents, rows_of

BANNER = "We use cookies to improve your experience."
OPTIONS = {"min_documents": 3, "min_characters": 15}


def prepared(tmp_path, texts, steps=(), partitions=3, **options):
    """A data set up to `clean`, and the config that cuts its segments. Rows may be (text, labels)."""
    rows = [text if isinstance(text, tuple) else (text, {"source": "web"}) for text in texts]
    lines = [json.dumps({"text": text, **labels}, ensure_ascii=False) for text, labels in rows]
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = DataConfig(
        sources=(SourceConfig(str(tmp_path / "in.jsonl")),),
        recipe=steps,
        partitions=partitions,
        segments=SegmentsConfig(**{"unit": "line", **OPTIONS, **options}),
    )
    ingest.run(config, tmp_path / "data")
    recipe.run(config, tmp_path / "data")
    return config, tmp_path / "data"


def run(tmp_path, texts, **options):
    config, dataset = prepared(tmp_path, texts, **options)
    segments.run(config, dataset)
    return dataset


def left(dataset):
    """Each document's text as it came -> as it now stands (None: dropped)."""
    found = {}
    for name in engine.require(dataset / INGESTED, "ingest"):
        documents = engine.read_partition(dataset / INGESTED / name)
        said = [engine.read_partition(dataset / f"corpus/attributes/{stage}" / name) for stage in ("clean", "segments")]
        assert all(table["id"] == documents["id"] for table in said)
        found |= zip(documents["text"].to_pylist(), attributes.current_texts(documents, said), strict=True)
    return found


def page(i, *more):
    return "\n".join([f"The story number {i} is told on this page and nowhere else.", *more])


def test_a_line_in_enough_documents_is_cut_from_all(tmp_path):
    pages = [page(i, BANNER if i % 2 else BANNER.upper() + "  ", f"Its end is {i}.") for i in range(4)]
    two = [page(i, "In two documents only, so it stays.") for i in (7, 8)]
    found = left(run(tmp_path, [*pages, *two]))
    assert found == {**{text: page(i, f"Its end is {i}.") for i, text in enumerate(pages)}, **{t: t for t in two}}


def test_what_was_cut_is_told(tmp_path):
    dataset = run(tmp_path, [page(i, BANNER) for i in range(5)] + [page(9)])
    rows = rows_of(dataset / segments.SEGMENTED)
    edited = [row for row in rows if row["text"] is not None]
    assert len(rows) == 6
    assert len(edited) == 5
    for row in edited:
        assert row["edits"] == [("segments.line", 1)]
        assert row["evidence"] == f"1 of 2 lines repeat; in 5 documents: {BANNER}"
        assert row["operator"] is row["reason"] is None
    [unit] = [json.loads(line) for line in (dataset / "corpus/segments.jsonl").read_text().splitlines()]
    assert unit == {"documents": 5, "text": BANNER, "id": min(row["id"] for row in edited)}


def test_a_document_of_little_else_is_dropped(tmp_path):
    found = run(tmp_path, [BANNER + f"\nok {i}" for i in range(3)] + [page(i, BANNER) for i in range(2)])
    reasons = Counter((row["operator"], row["reason"]) for row in rows_of(found / segments.SEGMENTED))
    assert reasons == {("segments", "repeated_segments"): 3, (None, None): 2}
    [*dropped] = [row for row in rows_of(found / segments.SEGMENTED) if row["reason"]]
    assert {(row["start"], row["end"]) for row in dropped} == {(0, len(BANNER))}
    assert dropped[0]["value"] == pytest.approx(len(BANNER) / (len(BANNER) + 4))


def test_a_document_of_nothing_else_is_dropped_whatever_the_share(tmp_path):
    texts = [BANNER + " " * i for i in range(3)]
    assert set(left(run(tmp_path, texts, max_cut_share=1.0)).values()) == {None}


def test_sources_count_apart_unless_asked(tmp_path):
    texts = [(page(i, BANNER), {"source": f"s{i % 2}"}) for i in range(4)]
    apart = left(run(tmp_path / "apart", texts))
    assert all(text == after for text, after in apart.items())
    together = left(run(tmp_path / "together", texts, scope="corpus"))
    assert set(together.values()) == {page(i) for i in range(4)}


def test_short_units_and_code_stay(tmp_path):
    import_line = "from __future__ import annotations"
    texts = [page(i, "Yes.", "}", "-" * 40, r"\begin{aligned}  % ===") for i in range(4)]
    texts += [(f"{import_line}\nx{i} = {i}", {"source": "web", "domain": "code"}) for i in range(4)]
    found = left(run(tmp_path, texts))
    assert all(text == after for text, after in found.items())


def test_fenced_code_and_what_reaches_into_it_stays(tmp_path):
    code = "```\nimport numpy as a name\n\nimport another thing\n```"
    texts = [page(i, code, BANNER) for i in range(3)]
    for unit, banner in (("line", "\n" + BANNER), ("paragraph", "")):
        found = left(run(tmp_path / unit, texts, unit=unit))
        assert found == {text: text.removesuffix(banner) for text in texts}


def test_repeats_within_a_document_are_one(tmp_path):
    chorus = "And the chorus sings it again.\n"
    texts = [chorus * 5 + page(0), page(1, chorus)]
    assert all(text == after for text, after in left(run(tmp_path, texts)).items())


def test_the_first_in_rank_keeps_its_copy_whatever_the_order(tmp_path):
    texts = [page(i, BANNER, f"Its end is {i}.") for i in range(6)]
    found = left(run(tmp_path / "a", texts, keep="first", min_documents=2))
    assert sum(text == after for text, after in found.items()) == 1
    shuffled = random.Random(1).sample(texts, len(texts))
    assert left(run(tmp_path / "b", shuffled, keep="first", min_documents=2, partitions=2)) == found


def test_chinese_sentences(tmp_path):
    banner = "版权所有，未经本站书面许可不得转载本文！"
    texts = [f"这是第{i}篇文章的开头。{banner}第{i}篇文章到这里就结束了。" for i in range(3)]
    found = left(run(tmp_path, texts, unit="sentence"))
    assert found == {text: text.replace(banner, "") for text in texts}


def test_spans_of_sentences_repeat_together(tmp_path):
    shared = ["The first sentence is here.", "The second one follows it.", "And then the third one comes."]
    own = [f"Number {i} has its own words here." for i in range(4)]
    texts = [" ".join([own[0], *shared]), " ".join([*shared, own[1]]), " ".join([own[2], shared[1], own[3]])]
    options = {"unit": "sentence", "span": 3, "keep": "none", "min_documents": 2, "max_cut_share": 0.9}
    assert left(run(tmp_path, texts, **options)) == {texts[0]: own[0], texts[1]: own[1], texts[2]: texts[2]}


def test_paragraphs(tmp_path):
    shared = "A notice of two lines that\nstands under each of the pages."
    texts = [page(i) + "\n\n" + shared + "\n\n" + f"Its end is {i}." for i in range(3)]
    assert left(run(tmp_path, texts, unit="paragraph")) == {
        text: page(i) + "\n\n" + f"Its end is {i}." for i, text in enumerate(texts)
    }


def test_what_the_recipe_drops_does_not_count(tmp_path):
    texts = [page(i, BANNER) for i in range(2)] + [BANNER]
    long_enough = OperatorConfig("length", params={"min_words": 9})
    found = left(run(tmp_path, texts, steps=(long_enough,)))
    assert found == {texts[0]: texts[0], texts[1]: texts[1], BANNER: None}


LINES = st.lists(st.sampled_from([f"line {c} of the corpus" for c in "abcdefg"]), min_size=1, max_size=6)


@given(
    st.lists(LINES, min_size=1, max_size=8), st.integers(2, 4), st.sampled_from(["none", "first"]), st.integers(1, 2)
)
@settings(deadline=None, max_examples=8)
def test_as_a_count_in_memory(tmp_path_factory, pages, min_documents, keep, span):
    options = {"min_documents": min_documents, "keep": keep, "span": span, "max_cut_share": 1.0}
    texts = ["\n".join(lines) for lines in pages]
    found = left(run(tmp_path_factory.mktemp("h"), texts, **options))

    ids = {text: document_id("web", text) for text in texts}
    ranks = dict(zip(ids, segments.shingles.hash_strings(list(ids.values())), strict=True))
    runs_of = {text: runs(text.split("\n"), span) for text in texts}
    holders = Counter(run for text in texts for run in set(runs_of[text]))  # equal documents count each
    for text in set(texts):
        lines = text.split("\n")
        gone = set()
        for i, unit in enumerate(runs_of[text]):
            first = min((other for other in ranks if unit in runs_of[other]), key=ranks.__getitem__)
            if holders[unit] >= min_documents and not (keep == "first" and first == text):
                gone |= set(range(i, i + span))
        expected = "\n".join(line for i, line in enumerate(lines) if i not in gone)
        copies = texts.count(text)
        if keep == "none" or copies == 1:
            assert found[text] == (expected or None)


def runs(lines, span):
    return [tuple(lines[i : i + span]) for i in range(len(lines) - span + 1)]


def test_killed_and_started_again_it_comes_out_the_same(tmp_path):
    texts = [page(i, BANNER) for i in range(6)]
    config, dataset = prepared(tmp_path, texts)
    segments.run(config, dataset)
    whole = contents(dataset)
    partition = engine.partition_names(3)[1]
    for path in ("corpus/segments/seen", "corpus/segments/repeated", segments.SEGMENTED):
        (dataset / path / partition).unlink()  # a kill leaves what was renamed into place before it
        segments.run(config, dataset)
        assert contents(dataset) == whole


def test_other_settings_start_again(tmp_path):
    texts = [page(i, BANNER) for i in range(3)]
    config, dataset = prepared(tmp_path, texts)
    segments.run(config, dataset)
    other = DataConfig(**{**vars(config), "segments": SegmentsConfig(unit="line", min_documents=4)})
    segments.run(other, dataset)
    assert all(text == after for text, after in left(dataset).items())


def test_off_unless_a_unit_is_named(tmp_path):
    config, dataset = prepared(tmp_path, [page(1)], unit="")
    segments.run(config, dataset)
    assert not (dataset / "corpus/segments").exists()
    assert "segments" not in attributes.stages(config)
    assert attributes.stages(DataConfig(segments=SegmentsConfig(unit="line")))[:2] == ("clean", "segments")


def test_before_clean_it_is_refused(tmp_path):
    config = DataConfig(segments=SegmentsConfig(unit="line"))
    with pytest.raises(DataError, match="run `maxlm-data ingest` first"):
        segments.run(config, tmp_path)


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match=r"segments\.min_documents: 1 is no repeat"):
        SegmentsConfig(min_documents=1)
    with pytest.raises(ConfigError, match=r"segments\.max_cut_share: 2 is outside"):
        SegmentsConfig(max_cut_share=2)
