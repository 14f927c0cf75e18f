import pytest

from data_pipeline import decide, dedup, engine, ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.dedup.stage import DEDUP_ATTRIBUTES, DEDUPED
from data_pipeline.document import KEPT, REMOVED
from data_pipeline.recipe import clean
from maxlm.errors import DataError
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
    said = [clean(steps, table), dedup_attributes(table, **{"b": True, "twice c@d.com": True})]
    removed, kept = decide.decide(table, said)
    assert (removed.schema, kept.schema) == (REMOVED, KEPT)
    assert [(row["text"], row["operator"], row["reason"], row["evidence"]) for row in removed.to_pylist()] == [
        ("b", "length", "too_few_words", None),
        ("twice <email>", "dedup", "near_duplicate", "kept k, similarity 0.812"),
    ]
    [row] = kept.to_pylist()
    assert {key: row[key] for key in table.column_names} == {**table.to_pylist()[0], "text": "stay <email>"}


def test_attributes_of_other_documents_are_refused(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", "one text", "another text")
    config = DataConfig(sources=(SourceConfig(str(tmp_path / "in.jsonl")),), partitions=1)
    for stage in (ingest, recipe, dedup):
        stage.run(config, tmp_path)
    [name] = engine.partition_names(1)
    path = tmp_path / DEDUPED / name
    engine.write_partition(path, engine.read_partition(path).take([1, 0]))
    (tmp_path / "documents" / engine.MARKER).unlink()
    with pytest.raises(DataError, match="its attributes belong to other documents"):
        decide.run(config, tmp_path)
