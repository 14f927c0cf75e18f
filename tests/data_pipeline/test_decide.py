import pyarrow as pa
import pytest

from data_pipeline import decide, dedup, engine, ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.dedup.verdicts import DEDUP_ATTRIBUTES, DEDUPED
from data_pipeline.document import KEPT, REMOVED
from data_pipeline.recipe import clean
from maxlm.errors import DataError, UserError
from maxlm.paths import exclusive
from tests.data_pipeline.tables import documents, write_jsonl


def dedup_attributes(table, **removed):
    rows = [
        {
            "id": i,
            **(
                {"operator": "dedup", "reason": "near_duplicate", "kept": "k", "similarity": 0.81234}
                if t in removed
                else {}
            ),
        }
        for i, t in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
    ]
    return DEDUP_ATTRIBUTES.empty_table().from_pylist(rows, schema=DEDUP_ATTRIBUTES)


def test_the_first_reason_counts_and_edited_texts_go_on():
    table = documents("stay a@b.com", "b", "twice c@d.com")
    steps = [OperatorConfig("redact"), OperatorConfig("length", params={"min_words": 2})]
    said = {"clean": clean(steps, table), "dedup": dedup_attributes(table, **{"b": True, "twice c@d.com": True})}
    removed, kept = decide.decide(table, said)
    assert (removed.schema, kept.schema) == (REMOVED, KEPT)
    assert [(row["text"], row["operator"], row["reason"], row["evidence"]) for row in removed.to_pylist()] == [
        ("b", "length", "too_few_words", None),
        ("twice <email>", "dedup", "near_duplicate", "kept k, similarity 0.812"),
    ]
    [row] = kept.to_pylist()
    assert {key: row[key] for key in table.column_names} == {**table.to_pylist()[0], "text": "stay <email>"}


def test_what_stays_brings_its_marks_scores_and_cluster():
    table = documents("one", "two", "three")
    said = {
        "clean": pa.table(
            {"reason": [None, "r", None], "operator": [None, "o", None], "marks": [["a.b"], ["c.d"], None]}
        ),
        "segments": pa.table({"reason": pa.nulls(3, pa.string()), "text": [None, "TWO", "THREE"]}),
        "decontaminate": pa.table({"reason": pa.nulls(3, pa.string()), "marks": [["e.f"], None, None]}),
        "score-quality": pa.table({"score": [0.5, 0.25, None]}),
        "score-domain": pa.table({"score": [1.0, None, None]}),
        "dedup": pa.table({"reason": pa.nulls(3, pa.string()), "cluster": [None, None, "first"]}),
    }
    removed, kept = decide.decide(table, said)
    [gone] = removed.to_pylist()
    assert (gone["text"], gone["operator"], gone["reason"]) == ("two", "o", "r")  # dropped before it was edited
    one, three = kept.to_pylist()
    assert (one["text"], one["marks"], one["cluster"]) == ("one", ["a.b", "e.f"], None)
    assert [row["bytes"] for row in (one, three)] == [len(row["text"].encode()) for row in (one, three)]
    assert dict(one["scores"]) == {"quality": 0.5, "domain": 1.0}
    assert (three["text"], three["marks"], three["scores"], three["cluster"]) == ("THREE", None, None, "first")


def test_evidence_and_passages_are_those_of_the_stage_that_drops():
    table = documents("one", "two")
    why = {
        "operator": ["o", None],
        "reason": ["r", None],
        "evidence": ["e", None],
        "value": [0.5, None],
        "start": [1, None],
    }
    removed, _ = decide.decide(table, {"segments": pa.table(why)})
    [row] = removed.to_pylist()
    assert [row[name] for name in ("operator", "reason", "evidence", "value", "start", "end")] == [
        "o",
        "r",
        "e",
        0.5,
        1,
        None,
    ]


def made(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", "one text", "another text")
    config = DataConfig(sources=(SourceConfig(str(tmp_path / "in.jsonl")),), partitions=1)
    for stage in (ingest, recipe, dedup):
        stage.run(config, tmp_path)
    return config


def test_documents_that_a_producer_reads_are_left_alone(tmp_path):
    config = made(tmp_path)
    with exclusive(tmp_path / "producer.lock", "taken"):
        decide.run(config, tmp_path)  # nothing to do
        (tmp_path / "documents" / engine.MARKER).unlink()
        with pytest.raises(UserError, match="a producer is reading the documents there: stop it"):
            decide.run(config, tmp_path)
    decide.run(config, tmp_path)


def test_attributes_of_other_documents_are_refused(tmp_path):
    config = made(tmp_path)
    [name] = engine.partition_names(1)
    path = tmp_path / DEDUPED / name
    engine.write_partition(path, engine.read_partition(path).take([1, 0]))
    (tmp_path / "documents" / engine.MARKER).unlink()
    with pytest.raises(DataError, match="its attributes belong to other documents"):
        decide.run(config, tmp_path)
