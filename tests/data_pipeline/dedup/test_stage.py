import random

import pytest

from data_pipeline import dedup, engine, ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.document import ATTRIBUTES, DOCUMENTS, INGESTED, REMOVED_DOCUMENTS
from data_pipeline.ingest.stage import document_id
from maxlm.errors import DataError
from tests.data_pipeline.tables import contents, rows_of, write_jsonl

ENGLISH = " ".join(random.Random(1).choices([f"word{i}" for i in range(500)], k=120))
ENGLISH_LONGER = ENGLISH + " and an ending"
CHINESE = "".join(
    random.Random(2).choices("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜", k=150)
)
CHINESE_LONGER = CHINESE + "，金生丽水。"
CORPUS = [
    ENGLISH,
    ENGLISH_LONGER,  # near: the longer one stays
    ENGLISH_LONGER.upper().replace(" ", "\n"),  # exact, but for case and white space
    CHINESE,
    CHINESE_LONGER,
    "Too short.",
    "Too small.",  # of the same length, and as empty of shingles
    "Short twice",
    "short  twice",
    "A text of its own, which shares with the others no more than a few of the commonest words of English.",
]


def run(tmp_path, texts, name="data", steps=(), **labels):
    write_jsonl(tmp_path / name / "in.jsonl", *texts, **labels)
    config = DataConfig(sources=(SourceConfig(str(tmp_path / name / "in.jsonl")),), recipe=steps, partitions=3)
    for stage in (ingest, recipe, dedup):
        stage.run(config, tmp_path / name)
    return tmp_path / name


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return run(tmp_path_factory.mktemp("dedup"), CORPUS)


def test_planted_duplicates_go_and_all_else_stays(dataset):
    removed = {row["text"]: row["reason"] for row in rows_of(dataset / REMOVED_DOCUMENTS)}
    # Two copies of one length and source: the first id stays.
    second_copy = max(ENGLISH_LONGER, CORPUS[2], key=lambda text: document_id("in", text))
    assert removed == {
        ENGLISH: "near_duplicate",
        second_copy: "exact_duplicate",
        CHINESE: "near_duplicate",
        "Short twice": "exact_duplicate",  # the other has one space more
    }
    kept = {row["text"] for row in rows_of(dataset / DOCUMENTS)}
    assert kept == set(CORPUS) - removed.keys()


def test_evidence_names_a_document_that_stays_and_their_similarity(dataset):
    kept = {row["id"] for row in rows_of(dataset / DOCUMENTS)}
    rows = [row for row in rows_of(dataset / ATTRIBUTES / "dedup") if row["reason"]]
    assert len(rows) == 4
    assert {row["kept"] for row in rows} <= kept
    scores = {row["id"]: row["similarity"] for row in rows}
    words = ENGLISH.split()
    shingles = {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
    true = len(shingles) / (len(shingles) + 3)  # far from the threshold, so estimated by 128 values
    assert scores[document_id("in", ENGLISH)] == pytest.approx(true, abs=4 * (true * (1 - true) / 128) ** 0.5)
    evidence = {row["text"]: row["evidence"] for row in rows_of(dataset / REMOVED_DOCUMENTS)}
    assert (
        evidence[CHINESE]
        == f"kept {document_id('in', CHINESE_LONGER)}, similarity {scores[document_id('in', CHINESE)]:.3f}"
    )


def test_attributes_have_the_documents_ids_and_order(dataset):
    for stage in ("clean", "dedup"):
        for name in engine.partition_names(3):
            ids = engine.read_partition(dataset / INGESTED / name)["id"]
            assert engine.read_partition(dataset / ATTRIBUTES / stage / name)["id"] == ids


def test_what_stays_does_not_depend_on_the_order_of_input(tmp_path, dataset):
    shuffled = random.Random(3).sample(CORPUS, len(CORPUS))
    other = run(tmp_path, shuffled)
    for folder in (DOCUMENTS, REMOVED_DOCUMENTS):
        assert {tuple(row.items()) for row in rows_of(other / folder)} == {
            tuple(row.items()) for row in rows_of(dataset / folder)
        }


def test_a_chain_is_not_swallowed(tmp_path):
    words = [f"w{i:03d}" for i in range(200)]
    # Neighbours' similarity is 0.81; of every other one 0.65, less than the threshold. Each is longer than the next.
    chain = [" ".join(words[i * 10 : i * 10 + 90 + (5 - i)]) for i in range(6)]
    dataset = run(tmp_path, chain)
    kept = [row["text"] for row in rows_of(dataset / DOCUMENTS)]
    assert sorted(kept) == [chain[0], chain[2], chain[4]]


def test_documents_that_the_recipe_drops_take_no_part(tmp_path):
    long_enough = OperatorConfig("length", params={"max_words": 121, "min_words": 2})
    dataset = run(tmp_path, [ENGLISH, ENGLISH_LONGER], steps=(long_enough,))
    assert [row["text"] for row in rows_of(dataset / DOCUMENTS)] == [ENGLISH]


def test_texts_are_compared_as_the_recipe_leaves_them(tmp_path):
    texts = [f"{ENGLISH} {name}@example.com" for name in ("ann", "bob")]
    dataset = run(tmp_path, texts, steps=(OperatorConfig("redact"),))
    [removed] = rows_of(dataset / REMOVED_DOCUMENTS)
    assert removed["reason"] == "exact_duplicate"
    assert removed["text"] == f"{ENGLISH} <email>"


def test_the_same_text_twice_in_a_source_stays_once(tmp_path):
    dataset = run(tmp_path, [ENGLISH] * 3 + ["other words entirely"])
    assert sorted(row["text"] for row in rows_of(dataset / DOCUMENTS)) == ["other words entirely", ENGLISH]


def test_running_again_changes_nothing(tmp_path):
    dataset = run(tmp_path, CORPUS)
    before = contents(dataset)
    assert contents(run(tmp_path, CORPUS)) == before


def test_dedup_after_another_recipe_is_refused(tmp_path):
    dataset = run(tmp_path, CORPUS)
    config = DataConfig(sources=(SourceConfig(str(dataset / "in.jsonl")),), recipe=(OperatorConfig("redact"),))
    with pytest.raises(DataError, match="made with other settings or input: run `maxlm-data clean` again"):
        dedup.run(config, dataset)


def test_a_recipe_that_drops_everything_is_refused(tmp_path):
    with pytest.raises(DataError, match="no document is left"):
        run(tmp_path, ["one", "two"], steps=(OperatorConfig("length"),))
