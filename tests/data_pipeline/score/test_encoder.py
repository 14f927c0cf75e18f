"""Encoders trained on made-up labels, loaded again, and run over texts of all lengths, on one device and on eight."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from data_pipeline import engine
from data_pipeline.score import measures
from data_pipeline.score.encoder import EncoderScorer, train
from data_pipeline.score.encoder_settings import EncoderSettings, MeshSizes
from maxlm.errors import ConfigError, DataError
from tests import encoders
from tests.house.modules import ROOT

TOPICS = {"sport": "球队 比赛 进球 win goal", "money": "股票 银行 利率 bank fund", "farm": "水稻 农民 丰收 rice pig"}
COMMON = "的 是 在 今天 the of and".split()
SETTINGS = EncoderSettings(
    epochs=8, batch=16, learning_rate=1e-2, patience=8, max_tokens=24, vocab_size=128, embed=16, num_layers=1,
    num_heads=2, mlp=16,
)  # fmt: skip


def _text(rng: np.random.Generator, topic: str, words: int = 6) -> str:
    return " ".join(rng.choice(TOPICS[topic].split() + COMMON, words))


def _file(path, count: int, seed: int, value=lambda topic: topic):
    rng = np.random.default_rng(seed)
    rows = [(topic, _text(rng, topic)) for topic in rng.choice(sorted(TOPICS), count)]
    path.write_text("".join(json.dumps({"text": text, "label": value(topic)}) + "\n" for topic, text in rows))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a classifier of three topics, its report, and what it told."""
    folder, told = tmp_path_factory.mktemp("trained"), []
    files = [_file(folder / "rows.jsonl", 320, 0)]
    report = train(files, folder / "model", SETTINGS, [_file(folder / "held.jsonl", 60, 1)], told.append)
    return folder, report, told


def test_it_learns(trained):
    folder, report, told = trained
    assert report["held_out"]["accuracy"] > 0.9  # chance is a third; a text without a topic's word is beyond it
    assert report["held_out"]["macro_f1"] > 0.9
    assert (report["texts"], report["chosen_by"], report["held_out"]["texts"]) == (256, 64, 60)
    assert report["epochs"][-1]["loss"] < 0.5 * report["epochs"][0]["loss"]
    assert len(told) == len(report["epochs"])
    assert json.loads((folder / "model" / "report.json").read_text()) == json.loads(json.dumps(report))


def test_what_is_loaded_is_what_was_measured(trained):
    """The reported figures come out again from the folder alone, temperature and all."""
    folder, report, _ = trained
    rows = [json.loads(line) for line in (folder / "held.jsonl").read_text().splitlines()]
    scorer = EncoderScorer.load(folder / "model")
    scores, labels = scorer.score([row["text"] for row in rows])
    assert (scores.dtype, scorer.labels) == (np.float64, ("farm", "money", "sport"))
    right = np.array([found == row["label"] for found, row in zip(labels, rows, strict=True)])
    assert right.mean() == report["held_out"]["accuracy"]
    probabilities = np.stack([scores, 1 - scores], axis=1)  # confidence is all that the error looks at
    found = measures.calibration_error(probabilities, np.where(right, 0, 1))
    assert found == pytest.approx(report["held_out"]["calibration_error"], abs=1e-5)
    assert report["uncalibrated"]["accuracy"] == report["held_out"]["accuracy"]
    assert report["uncalibrated"]["cross_entropy"] != report["held_out"]["cross_entropy"]


def test_same_seed_same_model(trained, tmp_path):
    folder, report, _ = trained
    again = train([folder / "rows.jsonl"], tmp_path, SETTINGS, [folder / "held.jsonl"])
    assert again == report
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / file).read_bytes() == (folder / "model" / file).read_bytes()


def test_from_a_checkpoint(trained, tmp_path):
    """Other labels on the same topics: body and tokenizer are the checkpoint's, and little training is needed."""
    folder, _, _ = trained
    file = _file(tmp_path / "rows.jsonl", 120, 2, {"sport": "no", "money": "yes", "farm": "no"}.get)
    settings = replace(
        SETTINGS, start=str(folder / "model"), epochs=3, learning_rate=5e-3, positive="yes", dtype="bfloat16"
    )
    report = train([file], tmp_path / "model", settings)
    assert report["held_out"]["accuracy"] > 0.8
    assert report["head_alone"]["accuracy"] > 0.8  # before anything was fine-tuned
    assert (report["texts"], report["chosen_by"], report["held_out"]["texts"]) == (96, 12, 12)
    assert (tmp_path / "model" / "vocab.txt").read_bytes() == (folder / "model" / "vocab.txt").read_bytes()
    old, new = (load_file(path / "model" / "model.safetensors") for path in (folder, tmp_path))
    moved = np.abs(old["bert.encoder.layer.0.output.dense.weight"] - new["bert.encoder.layer.0.output.dense.weight"])
    assert 0 < moved.max() < 0.1
    scorer = EncoderScorer.load(tmp_path / "model")
    assert scorer.classifier.encoder.config.dtype == "bfloat16"  # as trained
    scores, labels = scorer.score(["银行 股票 fund 利率", "球队 进球 goal", "水稻 rice pig"])
    assert labels == ["yes", "no", "no"]
    assert scores[0] > 0.5 > scores[1:].max()  # the positive class's probability, whatever the label


def test_training_that_betters_nothing_leaves_the_head_alone(trained, tmp_path):
    """Steps far too large: what stands in the folder is the checkpoint with the head that was fitted to it."""
    folder, _, _ = trained
    file = _file(tmp_path / "rows.jsonl", 120, 2, {"sport": "no", "money": "yes", "farm": "no"}.get)
    report = train([file], tmp_path / "model", replace(SETTINGS, start=str(folder / "model"), learning_rate=5.0))
    assert min(epoch["loss"] for epoch in report["epochs"]) > report["head_alone"]["loss"]
    assert report["held_out"]["accuracy"] > 0.8
    old, new = (load_file(path / "model" / "model.safetensors") for path in (folder, tmp_path))
    for name in old:
        assert np.array_equal(old[name], new[name]) == (not name.startswith("classifier")), name


def test_regression(tmp_path):
    """Values far from 0 and spread wide: the head gives them back as they are."""
    value = {"sport": 100.0, "money": 150.0, "farm": 250.0}.get
    file = _file(tmp_path / "rows.jsonl", 160, 4, value)
    report = train(
        [file], tmp_path / "model", replace(SETTINGS, regression=True), [_file(tmp_path / "held.jsonl", 40, 5, value)]
    )
    assert report["held_out"]["r2"] > 0.7
    assert report["held_out"]["spearman"] > 0.8
    assert json.loads((tmp_path / "model" / "config.json").read_text())["problem_type"] == "regression"
    scores, labels = EncoderScorer.load(tmp_path / "model").score(["球队 比赛 进球", "水稻 丰收 rice"])
    assert labels == [None, None]
    np.testing.assert_allclose(scores, [100, 250], atol=40)


def _bert(folder, labels=("bad", "good"), family="bert"):
    """A random classifier with a tokenizer of single letters."""
    encoders.classifier(folder, family, labels)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return folder


def test_scores_are_the_models(tmp_path):
    """Against NumPy, from text to probability; a text past the model's positions is cut to its head, or averaged."""
    folder = _bert(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(0)
    letters = [list(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), size)) for size in (3, 50, 1, 22, 40, 0)]
    texts = [" ".join(text) for text in letters]
    ids = [[5 + ord(letter) - ord("a") for letter in text] for text in letters]

    def logits(window):
        tokens_BT = np.array([[2, *window, 3]])
        hidden_BTD = encoders.hidden_states("bert", tensors, tokens_BT, np.ones(tokens_BT.shape, bool))
        return encoders.logits("bert", tensors, hidden_BTD)

    heads = measures.softmax(np.concatenate([logits(text[:22]) for text in ids]))  # 24 positions
    scores, labels = EncoderScorer.load(folder).score(texts)
    np.testing.assert_allclose(scores, heads.max(axis=1), atol=1e-4)
    assert labels == [("bad", "good")[i] for i in heads.argmax(axis=1)]

    (folder / "score.json").write_text(json.dumps({"positive": "good", "windows": 3, "max_tokens": 512}))
    wide = [logits(ids[1][:22]), logits(ids[1][22:44]), logits(ids[1][44:])]
    scores, _ = EncoderScorer.load(folder).score(texts)
    np.testing.assert_allclose(scores[[0, 2, 3, 5]], heads[[0, 2, 3, 5], 1], atol=1e-4)
    np.testing.assert_allclose(scores[1], measures.softmax(np.mean(wide, axis=0))[0, 1], atol=1e-4)


@pytest.mark.parametrize("mesh", [MeshSizes(8, 1, 1), MeshSizes(4, 2, 1), MeshSizes(-1, 1, 1)])
def test_scores_do_not_depend_on_company_or_devices(tmp_path, mesh):
    folder = _bert(tmp_path)
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(list("abcdef"), size)) for size in rng.integers(0, 30, 21)]
    scorer = EncoderScorer.load(folder, mesh, batch_tokens=64)
    together, _ = scorer.score(texts)
    alone = np.concatenate([EncoderScorer.load(folder).score([text])[0] for text in texts[:2]])
    np.testing.assert_allclose(together[:2], alone, atol=1e-5)
    backwards, _ = scorer.score(texts[::-1])
    np.testing.assert_allclose(backwards[::-1], together, atol=1e-5)
    none, labels = scorer.score([])
    assert (none.shape, labels) == ((0,), [])


def test_resumable_by_partition(tmp_path):
    """Applied through the engine: partitions that stand are left alone, the others are made, the same as in one go."""
    folder = _bert(tmp_path / "model")
    rng = np.random.default_rng(2)
    names = engine.partition_names(3)
    tables = [pa.table({"text": [" ".join(rng.choice(list("abc"), 9)) for _ in range(5)]}) for _ in names]
    scorer, made = EncoderScorer.load(folder), []

    def score(i: int) -> tuple[pa.Table]:
        made.append(i)
        scores, labels = scorer.score(tables[i]["text"].to_pylist())
        return (pa.table({"score": scores, "label": pa.array(labels, pa.string())}),)

    def run(out) -> list[pa.Table]:
        # size 0: in this process, which holds the devices
        engine.make_partitions(engine.Stage("score", (out,), "digest"), score, {n: i for i, n in enumerate(names)}, 0)
        return [engine.read_partition(out / name) for name in names]

    whole = run(tmp_path / "whole")
    cut = run(tmp_path / "cut")
    (tmp_path / "cut" / names[1]).unlink()
    assert run(tmp_path / "cut") == whole == cut
    assert made == [0, 1, 2, 0, 1, 2, 1]


def test_nothing_heavy_before_it_is_needed():
    code = (
        "import sys, data_pipeline.score.encoder; print(*{'jax', 'flax', 'optax', 'tokenizers'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


def test_wrong_models(tmp_path):
    body = encoders.save(tmp_path / "body", "bert", encoders.weights("bert"))
    with pytest.raises(DataError, match="an encoder without a head: train one from it"):
        EncoderScorer.load(body)
    folder = _bert(tmp_path / "model")
    (folder / "score.json").write_text('{"positive": "great"}')
    with pytest.raises(DataError, match=r"positive class 'great' is none of .* bad, good"):
        EncoderScorer.load(folder)
    with pytest.raises(ConfigError, match=r"shape \[24, 12\] does not divide by the mesh's fsdp × context=8"):
        EncoderScorer.load(folder, MeshSizes(1, 8, 1))
    (folder / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "".join(f"word{i}\n" for i in range(10)))
    with pytest.raises(DataError, match="the tokenizer has 41 tokens, the encoder 40"):
        EncoderScorer.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive": "sprot"}, "positive='sprot' is none of the labels farm, money, sport"),
        ({"batch": 12, "mesh": MeshSizes(8)}, "batch=12 does not divide by the mesh's data × fsdp=8"),
        ({"mesh": MeshSizes(3)}, "data=3 × fsdp=1 × .* does not fit 8 devices"),
    ],
)
def test_wrong_settings(trained, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train([trained[0] / "rows.jsonl"], tmp_path, replace(SETTINGS, **changes))


def test_settings_that_make_no_sense():
    for changes, message in (
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"holdout": 1.0}, r"holdout=1\.0 is outside"),
        ({"max_tokens": 2}, "max_tokens=2 leaves no room"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is not positive"),
        ({"dtype": "float16"}, "'float16' is neither"),
        ({"regression": True, "positive": "a"}, "no positive class"),
    ):
        with pytest.raises(ConfigError, match=message):
            EncoderSettings(**changes)


def test_one_label_is_no_classifier(tmp_path):
    file = _file(tmp_path / "rows.jsonl", 10, 0, lambda topic: "same")
    with pytest.raises(DataError, match="all labels are 'same'"):
        train([file], tmp_path / "model", SETTINGS)
