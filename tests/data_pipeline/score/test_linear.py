"""The linear classifier: what it learns, that it keeps its word about probabilities, and how its files are."""

import json

import numpy as np
import pytest

from data_pipeline.score import linear, measures, unlabelled
from data_pipeline.score.features import Features
from data_pipeline.score.linear import LinearScorer, LinearSettings
from maxlm.errors import ConfigError, DataError

WORDS = {"news": "minister election market police 政府 经济 选举", "code": "def return import class 函数 变量 返回"}


def _texts(count, seed=0, confusion=0.3):
    """Texts of six words, each word of the other class's with some probability, and their labels."""
    rng = np.random.default_rng(seed)
    names = sorted(WORDS)
    labels = rng.integers(0, 2, count)
    words = [WORDS[name].split() for name in names]
    texts = []
    for label in labels:
        kinds = np.where(rng.random(6) < confusion, 1 - label, label)
        texts.append(" ".join(words[kind][rng.integers(7)] for kind in kinds))
    return texts, [names[label] for label in labels]


def _file(path, texts, **columns):
    rows = [dict(zip(["text", *columns], row, strict=True)) for row in zip(texts, *columns.values(), strict=True)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_learns_classes_and_reports_on_texts_that_it_never_saw(tmp_path):
    texts, labels = _texts(600)
    report = linear.train([_file(tmp_path / "a.jsonl", texts, label=labels)], tmp_path / "model",
                          LinearSettings(positive="news"))  # fmt: skip
    assert report == json.loads((tmp_path / "model" / "report.json").read_text())
    assert (report["texts"], report["held_out"]["texts"]) == (540, 60)
    assert report["held_out"].keys() == {
        "texts", "accuracy", "macro_f1", "calibration_error", "cross_entropy", "auc"}  # fmt: skip
    scorer = LinearScorer.load(tmp_path / "model")
    fresh, wanted = _texts(2000, seed=1)
    scores, found = scorer.score(fresh)
    # A text has its label's words by 6 draws at 0.7: the best guess, a majority, is right 83.7 % (ties by half).
    right = np.mean([a == b for a, b in zip(found, wanted, strict=True)])
    assert 0.80 < right < 0.86
    assert abs(right - report["held_out"]["accuracy"]) < 0.12
    np.testing.assert_array_equal(scores > 0.5, np.array(found) == "news")
    assert measures.auc(scores, np.array(wanted) == "news") > 0.88


def test_probabilities_are_calibrated():
    texts, labels = _texts(3000, seed=2)
    targets = np.eye(2)[[int(label == "news") for label in labels]]
    scorer, _ = linear.fit(texts, targets, ("code", "news"), LinearSettings())
    fresh, wanted = _texts(8000, seed=3)
    probabilities = measures.softmax(scorer.outputs(fresh))
    assert measures.calibration_error(probabilities, np.array([label == "news" for label in wanted]).astype(int)) < 0.03


def test_regression_learns_values(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["good", "bad", "a", "b", "c"], 8)) for _ in range(400)]
    values = [10 + text.count("good") - text.count("bad") for text in texts]
    report = linear.train(
        [_file(tmp_path / "a.jsonl", texts, label=values)], tmp_path / "m", LinearSettings(regression=True)
    )
    assert report["held_out"]["r2"] > 0.8
    scores, labels = LinearScorer.load(tmp_path / "m").score(["good good good a a a a a", "bad bad bad a a a a a", ""])
    assert labels == [None] * 3
    assert scores[0] > 11.5 > 8.5 > scores[1]
    assert scores[2] == pytest.approx(10, abs=0.5)


def test_same_seed_same_bytes(tmp_path):
    texts, labels = _texts(120)
    file = _file(tmp_path / "a.jsonl", texts, label=labels)
    for name in ("one", "two"):
        linear.train([file], tmp_path / name, LinearSettings(seed=3))
    linear.train([file], tmp_path / "other", LinearSettings(seed=4))
    for file in ("model.json", "weights.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert (tmp_path / "one/weights.npz").read_bytes() != (tmp_path / "other/weights.npz").read_bytes()


def test_a_score_does_not_depend_on_the_other_texts(tmp_path):
    texts, labels = _texts(200)
    linear.train([_file(tmp_path / "a.jsonl", texts, label=labels)], tmp_path / "m", LinearSettings())
    scorer = LinearScorer.load(tmp_path / "m")
    together, _ = scorer.score(texts)
    alone = np.concatenate([scorer.score([text])[0] for text in texts])
    np.testing.assert_array_equal(together, alone)
    assert scorer.score([])[0].shape == (0,)


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([{"text": "a"}] * 3, {}, "line 1: 'label' should be a label"),
        ([{"label": "a"}] * 3, {}, "line 1: no text under 'text'; it has label"),
        ([{"text": "a", "label": "x"}] * 3, {}, "all labels are x; a classifier needs two classes or more"),
        ([{"text": "a", "label": ["x"]}] * 3, {}, r"line 1: 'label' should be a label .*found \['x'\]"),
        ([{"text": "a", "label": 0.5}] * 3, {}, "line 1: 'label' should be a label .*found 0.5"),
        ([{"text": "a", "label": "x"}] * 3, {"regression": True}, "line 1: 'label' should be a number, found 'x'"),
        ([], {}, "holds no labelled rows"),
    ],
)
def test_labelled_files_that_cannot_be_used(tmp_path, rows, settings, message):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message) as caught:
        linear.train([file], tmp_path / "m", LinearSettings(**settings))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m").exists()


def test_settings_that_cannot_be(tmp_path):
    file = _file(tmp_path / "a.jsonl", ["x", "y"], label=["a", "b"])
    with pytest.raises(ConfigError, match="positive class 'c' is none of a, b"):
        linear.train([file], tmp_path / "m", LinearSettings(positive="c"))
    with pytest.raises(ConfigError, match="buckets=1000 is no power of two"):
        LinearSettings(Features(buckets=1000))


def test_damaged_models(tmp_path):
    texts, labels = _texts(40)
    linear.train([_file(tmp_path / "a.jsonl", texts, label=labels)], tmp_path / "m", LinearSettings())
    whole = (tmp_path / "m/weights.npz").read_bytes()
    (tmp_path / "m/weights.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"m: damaged model .*train it again"):
        LinearScorer.load(tmp_path / "m")
    with pytest.raises(DataError, match=r"no such file .*maxlm-data score --train"):
        LinearScorer.load(tmp_path / "nowhere")


def test_wanted_texts_are_found_in_a_heap_of_both():
    texts, labels = _texts(4000, confusion=0.05)
    news = np.array([label == "news" for label in labels])
    wanted = [texts[i] for i in np.flatnonzero(news)[:500]]
    rest = [i for i in range(4000) if i not in set(np.flatnonzero(news)[:500])]
    heap = [i for i in rest if not news[i]][:900] + [i for i in rest if news[i]][:300]  # a quarter is wanted
    scorer, facts = unlabelled.fit(wanted, [], [texts[i] for i in heap], LinearSettings(positive="positive"))
    assert facts["share_wanted_of_unlabelled"] == pytest.approx(0.25, abs=0.06)
    fresh, kinds = _texts(2000, seed=9, confusion=0.05)
    scores, _ = scorer.score(fresh)
    is_news = np.array([kind == "news" for kind in kinds])
    assert measures.auc(scores, is_news) > 0.99
    # Not the probability of standing in one file or the other, which for news would be 500 / 800.
    assert scores[is_news].mean() > 0.85
    assert scores[~is_news].mean() < 0.1


def test_positive_and_negative_files_are_two_classes(tmp_path):
    texts, labels = _texts(300)
    split = {kind: [t for t, label in zip(texts, labels, strict=True) if label == kind] for kind in WORDS}
    files = [[_file(tmp_path / f"{kind}.jsonl", split[kind])] for kind in ("news", "code")]
    report = unlabelled.train(*files, [], tmp_path / "m", LinearSettings())
    assert report["labels"] == ["negative", "positive"]
    assert report["held_out"]["accuracy"] > 0.7
    assert LinearScorer.load(tmp_path / "m").score(["minister election"])[0] > 0.5
    with pytest.raises(DataError, match="1 positive and 0 other texts are too few"):
        unlabelled.train([_file(tmp_path / "one.jsonl", ["x"])], [], [], tmp_path / "m", LinearSettings())
