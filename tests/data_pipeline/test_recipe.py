from pathlib import Path

import pyarrow as pa
import pytest

from data_pipeline import ingest, recipe
from data_pipeline.config import DataConfig, OperatorConfig, SourceConfig
from data_pipeline.document import INGESTED
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.tables import documents, rows_of, write_jsonl

RECIPES = Path(__file__).parents[2] / "configs" / "data" / "recipes"


def test_attributes_say_what_became_of_each_document():
    steps = [OperatorConfig("redact"), OperatorConfig("length", params={"min_words": 3})]
    table = documents("write to me@example.com soon", "too short", "all is well here")
    edited, dropped, kept = recipe.clean(steps, table).to_pylist()
    ids = table["id"].to_pylist()
    said = {
        "operator": None,
        "reason": None,
        "value": None,
        "start": 0,
        "end": 0,
        "evidence": None,
        "marks": [],
        "text": None,
        "edits": [],
    }
    assert edited == {**said, "id": ids[0], "text": "write to <email> soon", "edits": [("redact.email", 1)]}
    assert dropped == {**said, "id": ids[1], "operator": "length", "reason": "too_few_words", "value": 2}
    assert kept == {**said, "id": ids[2]}


def test_operators_look_at_their_domains_only():
    steps = [OperatorConfig("length", domains=("en",))]
    assert recipe.clean(steps, documents("short", domain="en"))["reason"].to_pylist() == ["too_few_words"]
    assert recipe.clean(steps, documents("short", domain="code"))["reason"].to_pylist() == [None]


def test_blocks_of_mixed_domains_keep_the_order(monkeypatch):
    monkeypatch.setattr(recipe, "_BLOCK_DOCUMENTS", 3)
    monkeypatch.setattr(recipe, "_BLOCK_CHARACTERS", 40)
    steps = [OperatorConfig("length", domains=("en",), params={"min_words": 3}), OperatorConfig("redact")]
    texts = [f"{'word ' * (i % 7)}a{i}@b.com" for i in range(20)]
    tables = [documents(text, domain=("en", "zh", "code")[i % 3]) for i, text in enumerate(texts)]
    found = recipe.clean(steps, pa.concat_tables(tables)).to_pylist()
    one_by_one = [row for table in tables for row in recipe.clean(steps, table).to_pylist()]
    assert found == one_by_one
    assert {row["reason"] for row in found} == {None, "too_few_words"}


def test_a_changed_recipe_is_run_again(tmp_path):
    write_jsonl(tmp_path / "in.jsonl", "one two three", "one")
    config = DataConfig(sources=(SourceConfig(str(tmp_path / "in.jsonl")),), partitions=2)
    ingest.run(config, tmp_path / "data")
    recipe.run(config, tmp_path / "data")
    steps = (OperatorConfig("length", params={"min_words": 2}),)
    recipe.run(DataConfig(sources=config.sources, partitions=2, recipe=steps), tmp_path / "data")
    reasons = [row["reason"] for row in rows_of(tmp_path / "data" / recipe.CLEANED)]
    assert sorted(map(str, reasons)) == ["None", "too_few_words"]
    ids = [row["id"] for row in rows_of(tmp_path / "data" / recipe.CLEANED)]
    assert ids == [row["id"] for row in rows_of(tmp_path / "data" / INGESTED)]


def test_what_a_list_holds_counts_with_the_recipe(tmp_path):
    words = tmp_path / "words.txt"
    config = DataConfig(recipe=(OperatorConfig("keywords", params={"lists": ["zh", str(words)]}),))
    digests = []
    for content in ("one", "two", "one"):
        words.write_text(content, encoding="utf-8")
        digests.append(recipe.stage_digest(config, tmp_path))
    assert digests[0] == digests[2] != digests[1]


def test_nothing_ingested_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist: run `maxlm-data ingest` first"):
        recipe.run(DataConfig(), tmp_path)


def test_a_mistake_in_the_recipe_names_its_place(tmp_path):
    steps = (OperatorConfig("redact"), OperatorConfig("repetitions"))
    with pytest.raises(ConfigError, match=r"config.recipe\[1\]: no operator 'repetitions'; did you mean 'repetition'"):
        recipe.run(DataConfig(recipe=steps), tmp_path)


def test_a_recipe_file_becomes_steps(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text('domains: [en, de]\nprocess:\n  - stop_words\n  - repetition: {max_top: {"2": 0.1}}\n')
    labels = {"domains": ["en", "de"], "action": "drop", "branch": ""}
    assert recipe.read(path) == [
        {"name": "stop_words", **labels, "params": {}},
        {"name": "repetition", **labels, "params": {"max_top": {"2": 0.1}}},
    ]


def test_recipes_that_mark_share_a_pass(tmp_path):
    (tmp_path / "main.yaml").write_text("process: [length: {min_words: 2}, stop_words: {action: mark}]")
    (tmp_path / "strict.yaml").write_text("action: mark\nprocess: [redact, c4, length: {min_words: 9}]")
    (tmp_path / "b.yaml").write_text("action: mark\nname: loose\nprocess: [character_shares: {max_marks: 0.1}]")
    steps = [
        OperatorConfig(**step) for name in ("main", "strict", "b") for step in recipe.read(tmp_path / f"{name}.yaml")
    ]
    table = documents("Write to me@example.com: {}.", "the end of it. " * 5, "one")
    first, second, third = recipe.clean(steps, table).to_pylist()
    assert first["marks"] == [
        "stop_words.too_few_stop_words",
        "strict.c4.curly_bracket",
        "strict.length.too_few_words",
        "loose.character_shares.too_many_marks",
    ]
    assert (first["reason"], first["text"], first["edits"]) == (None, None, [])
    assert (second["reason"], second["marks"]) == (None, [])
    assert (third["reason"], third["marks"]) == ("too_few_words", [])


def test_a_change_that_counts_as_none_is_written():
    [row] = recipe.clean(
        [OperatorConfig("c4", params={"min_sentences": 0})], documents("A line of text. \n")
    ).to_pylist()
    assert (row["text"], row["edits"]) == ("A line of text.", [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("process: [length: [", "not valid YAML"),
        ("- length", "a recipe holds the keys"),
        ("process: [redact: {action: mark}]", r"process\[0\]: redact edits and cannot mark"),
        ("action: keep", "action is drop or mark, found 'keep'"),
        ("operators: [length]", "unknown key 'operators'"),
        ("domain: [en]", "unknown key 'domain'; did you mean 'domains'"),
        ("process: [lenght]", r"process\[0\]: no operator 'lenght'; did you mean 'length'"),
        ("process: [length: {min_word: 3}]", "min_word: unknown key; did you mean 'min_words'"),
        ("process: [3]", "expected `name: {parameters}`"),
    ],
)
def test_a_bad_recipe_file_is_named(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        recipe.read(tmp_path / "r.yaml")


def test_a_missing_recipe_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such recipe"):
        recipe.read(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_every_recipe_that_comes_with_the_project_is_read(name):
    assert recipe.build([OperatorConfig(**step) for step in recipe.read(RECIPES / f"{name}.yaml")])


def page(sentences):
    """A page of different sentences of plain English."""
    things = [
        f"{a}{b}" for a in ("boat", "house", "road", "mill", "farm") for b in ("man", "yard", "side", "work", "s")
    ]
    return "\n\n".join(
        f"In {1800 + 7 * i} the {things[i % 25]} of {things[(i * 7 + 3) % 25]} and {things[(i * 3 + 1) % 25]} had to "
        f"be sold, with {things[(i * 11 + 5) % 25]} that {things[(i * 5 + 2) % 25]} needed."
        for i in range(sentences)
    )


def test_the_english_web_recipe_keeps_sentences_and_drops_lists():
    steps = [OperatorConfig(**step) for step in recipe.read(RECIPES / "web_en.yaml")]
    menu = "\n".join(f"Menu item {i}" for i in range(80))
    code = page(8) + "\n\nfunction f() { return the_value of that }."
    kept, no_menu, no_code = recipe.clean(steps, documents(page(8), menu, code)).to_pylist()
    assert kept["reason"] is None
    assert (no_menu["operator"], no_menu["reason"]) == ("alphabetic_words", "too_few_alphabetic_words")
    assert (no_code["operator"], no_code["reason"]) == ("c4", "curly_bracket")
