"""Scores beside documents, rules over them, and what a changed threshold touches."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from data_pipeline import cli, decide, dedup, engine, ingest, recipe, score
from data_pipeline.config import (
    DataConfig,
    DedupConfig,
    KeepConfig,
    OperatorConfig,
    ScoreConfig,
    SourceConfig,
    TrainScoreConfig,
)
from data_pipeline.score import keep, stage
from maxlm.errors import ConfigError, DataError
from tests.data_pipeline.tables import contents, documents, rows_of, write_jsonl

GOOD = [f"The minister said in chapter {i} that the election was held in peace." for i in range(12)]
BAD = [f"lol omg click here {i} times buy cheap pills now!!!" for i in range(12)]


@pytest.fixture
def config(tmp_path) -> DataConfig:
    """Twelve good texts, twelve bad ones, one too short; a model that knows them apart."""
    write_jsonl(tmp_path / "in/news.jsonl", *GOOD, domain="news")
    write_jsonl(tmp_path / "in/web.jsonl", *BAD, "short")
    rows = [{"text": text, "label": "good"} for text in GOOD] + [{"text": text, "label": "bad"} for text in BAD]
    (tmp_path / "labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = TrainScoreConfig(labelled=(f"{tmp_path}/label*.jsonl",), buckets=2**12)
    quality = ScoreConfig("quality", str(tmp_path / "model"), positive="good", train=train)
    stage.train(quality)
    return DataConfig(
        sources=tuple(SourceConfig(f"{tmp_path}/in/{name}.jsonl", domain=name) for name in ("news", "web")),
        recipe=(OperatorConfig("length", params={"min_words": 5}),),
        dedup=DedupConfig(threshold=1.0),
        scores=(quality,),
        partitions=3,
    )


def _run(config: DataConfig, dataset: Path, *stages) -> Path:
    for each in stages or (ingest, recipe, score, dedup):
        each.run(config, dataset)
    return dataset


def _written(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(f): (f.read_bytes(), f.stat().st_mtime_ns) for f in sorted(folder.rglob("part-*.parquet"))}


def test_scores_stand_beside_what_is_left(config, tmp_path):
    dataset = _run(config, tmp_path / "data")
    texts = [row["text"] for row in rows_of(dataset / "corpus/ingested")]
    ids = [row["id"] for row in rows_of(dataset / "corpus/ingested")]
    scored = rows_of(dataset / "corpus/attributes/score-quality")
    assert [row["id"] for row in scored] == ids
    for text, row in zip(texts, scored, strict=True):
        if text == "short":  # the recipe took it
            assert (row["score"], row["label"]) == (None, None)
        else:
            assert row["label"] == ("good" if text in GOOD else "bad")
            assert (row["score"] > 0.5) == (text in GOOD)
    kept = {row["text"]: row for row in rows_of(dataset / "documents")}
    assert {text: dict(row["scores"])["quality"] for text, row in kept.items()} == {
        text: row["score"] for text, row in zip(texts, scored, strict=True) if text != "short"
    }


def test_a_score_for_some_domains_drops_none_of_the_others(config, tmp_path):
    only_news = replace(config, scores=(replace(config.scores[0], domains=("news",)),),
                        keep=(KeepConfig("quality", min=0.5),))  # fmt: skip
    dataset = _run(only_news, tmp_path / "data")
    kept = {row["text"]: row["scores"] for row in rows_of(dataset / "documents")}
    assert kept.keys() == {*GOOD, *BAD}
    assert all(kept[text] is None for text in BAD)


def test_rules_drop_and_a_changed_threshold_touches_the_decision_only(config, tmp_path):
    dataset = _run(config, tmp_path / "data")
    before = _written(dataset / "corpus")
    _run(replace(config, keep=(KeepConfig("quality", min=0.5),)), dataset)
    assert _written(dataset / "corpus") == before
    assert {row["text"] for row in rows_of(dataset / "documents")} == set(GOOD)
    removed = [row for row in rows_of(dataset / "removed") if row["operator"] == "score"]
    assert {row["text"] for row in removed} == set(BAD)
    scores = {row["id"]: row["score"] for row in rows_of(dataset / "corpus/attributes/score-quality")}
    assert {(row["reason"], row["value"] == scores[row["id"]]) for row in removed} == {("quality_below", True)}
    _run(replace(config, keep=(KeepConfig("quality", max=0.5),)), dataset)
    assert _written(dataset / "corpus") == before
    assert {row["text"] for row in rows_of(dataset / "documents")} == set(BAD)
    assert {row["reason"] for row in rows_of(dataset / "removed")} == {"quality_above", "too_few_words"}


def test_labels_become_domains_of_what_is_kept(config, tmp_path):
    rule = KeepConfig("quality", min=1.0, domains=("bad",))  # by the domain that the label is
    dataset = _run(replace(config, domain_from="quality", keep=(rule,)), tmp_path / "data")
    assert {(row["text"] in GOOD, row["domain"]) for row in rows_of(dataset / "documents")} == {(True, "good")}
    assert {row["domain"] for row in rows_of(dataset / "removed")} == {"web"}  # as ingested: what reports compare with


def test_another_model_scores_again_and_an_equal_one_does_not(config, tmp_path):
    dataset = _run(config, tmp_path / "data")
    before = _written(dataset / "corpus")
    stage.train(config.scores[0])  # the same weights, another report
    _run(config, dataset, score)
    assert _written(dataset / "corpus") == before
    other = replace(config.scores[0], train=replace(config.scores[0].train, seed=5))
    stage.train(other)
    _run(config, dataset, score)
    assert contents(dataset / "corpus/attributes/score-quality") != {
        Path(name).name: data for name, (data, _) in before.items() if "score-quality" in name
    }


def test_goes_on_where_it_was_stopped(config, tmp_path):
    dataset = _run(config, tmp_path / "data")
    folder = dataset / "corpus/attributes/score-quality"
    before = _written(folder)
    (folder / "part-00001.parquet").unlink()
    with pytest.raises(DataError, match="score-quality is not finished: run `maxlm-data score` first"):
        decide.run(config, dataset)
    _run(config, dataset, score)
    after = _written(folder)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    changed = [Path(name).name for name in before if after[name][1] != before[name][1]]
    assert changed == ["part-00001.parquet"]


def test_the_first_broken_rule_counts_and_limits_are_kept():
    table = documents("a", "b", "c", "d")
    said = {"score-s": pa.table({"id": table["id"], "score": pa.array([0.1, 0.5, 0.9, None])})}
    rules = [KeepConfig("s", min=0.5, max=0.9), KeepConfig("s", min=0.6), KeepConfig("s", max=0.0, domains=("zh",))]
    found = keep.judge(rules, table["domain"], said).to_pylist()
    below = {"operator": "score", "reason": "s_below"}
    stays = {"operator": None, "reason": None, "value": None}
    assert found == [{**below, "value": 0.1}, {**below, "value": 0.5}, stays, stays]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"keep": [KeepConfig("qualty", min=1.0)]},
            r"config.keep\[0\].score: config.scores has no 'qualty'; did you mean",
        ),
        ({"keep": [KeepConfig("quality")]}, r"config.keep\[0\]: names neither min nor max"),
        ({"keep": [KeepConfig("quality", min=2.0, max=1.0)]}, r"config.keep\[0\]: min 2.0 lies above max 1.0"),
        ({"domain_from": "kind"}, "config.domain_from: config.scores has no 'kind'"),
        ({"scores": [ScoreConfig("a/b", "m")]}, r"config.scores\[0\].name: 'a/b' is no name"),
        ({"scores": [ScoreConfig("a", "m"), ScoreConfig("a", "n")]}, r"config.scores\[1\].name: 'a' is there twice"),
    ],
)
def test_mistakes_in_the_config(change, message):
    values = {
        "scores": (ScoreConfig("quality", "m"),),
        **{k: v if k == "domain_from" else tuple(v) for k, v in change.items()},
    }
    with pytest.raises(ConfigError, match=message):
        DataConfig(**values)


def test_mistakes_at_training(config, tmp_path):
    quality = config.scores[0]
    with pytest.raises(DataError, match=r"config.scores\['quality'\].train: no file matches '/nowhere\*'"):
        stage.train(quality, labelled_files=["/nowhere*"])
    with pytest.raises(ConfigError, match="name labelled files, or positive ones and negative or unlabelled ones"):
        stage.train(replace(quality, train=TrainScoreConfig(positive=("a",))))
    with pytest.raises(
        DataError, match=r"elsewhere: no score model stands there: train it with `maxlm-data score --train`"
    ):
        _run(replace(config, scores=(replace(quality, model=str(tmp_path / "elsewhere")),)), tmp_path / "data")


def test_commands(config, tmp_path, capsys):
    file = tmp_path / "config.py"
    values = {"name": "quality", "model": f"{tmp_path}/m", "positive": "good"}
    file.write_text(
        "from data_pipeline import config\n"
        "def get_config():\n"
        "    c = config.base()\n"
        f"    c.sources = [{{'path': '{tmp_path}/in'}}]\n"
        f"    c.scores = [{values!r}]\n"
        "    return c\n"
    )
    cli.run(["score", "--train", f"--config={file}", f"--labelled={tmp_path}/labelled.jsonl"])
    assert f"quality stands in {tmp_path}/m (held out: texts 2, accuracy 1" in capsys.readouterr().out
    with pytest.raises(Exception, match="name the data set to score"):
        cli.run(["score", f"--config={file}"])
    for command in ("ingest", "clean", "score"):
        cli.run([command, f"--config={file}", f"--dataset={tmp_path}/data"])
    assert engine.is_complete(tmp_path / "data/corpus/attributes/score-quality")
