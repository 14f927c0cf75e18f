"""The fast classifier: a linear softmax over hashed n-grams, trained in seconds, calibrated, and saved without pickle.

fastText's features (Joulin et al. 2016) without its bottleneck of embeddings: a softmax on rows of l2 norm 1 learns
more from few labels. A model is a folder: model.json (features, classes), weights.npz, and report.json of its training.
"""

import io
import time
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import sparse

from data_pipeline.score import fitting, labelled, measures
from data_pipeline.score.features import Features, Known
from data_pipeline.score.labelled import Labelled
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, read_json, write_atomic, write_json

MODEL_FILE, WEIGHTS_FILE, REPORT_FILE = "model.json", "weights.npz", "report.json"
POSITIVE, NEGATIVE = "positive", "negative"  # the classes of learning from positive and unlabelled texts
_FORMAT = 1
_APPLY = 4096  # texts at a time


@dataclass(frozen=True)
class LinearSettings:
    """How a linear model is trained."""

    features: Features = Features()
    regression: bool = False
    positive: str = ""  # the class whose probability is the score; "": the probability of the likeliest class
    text_key: str = "text"
    label_key: str = "label"
    holdout: float = 0.1  # share of the texts held out to report on; the model never learns from them
    max_texts: int = 200_000  # more are drawn from by the seed
    seed: int = 0

    def __post_init__(self) -> None:
        if self.features.buckets < 2 or self.features.buckets & (self.features.buckets - 1):
            raise ConfigError(f"score: buckets={self.features.buckets} is no power of two")
        if not 0 < self.holdout < 1:
            raise ConfigError(f"score: holdout={self.holdout} is outside (0, 1)")


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """A trained linear model."""

    features: Features
    labels: tuple[str, ...]  # (): a regression
    positive: str
    known: Known
    weights: np.ndarray  # temperature included, float32 [columns, classes]
    bias: np.ndarray  # float32 [classes]

    def outputs(self, texts: Sequence[str]) -> np.ndarray:
        """Logits, or the value of a regression: float64 [texts, classes]. Each text's depend on itself only."""
        places, weights = self.known.places(self.features.buckets), self.weights.astype(np.float64)
        parts = []
        for start in range(0, len(texts), _APPLY):
            counts = self.features.counts(texts[start : start + _APPLY], places, len(weights))
            parts.append(self.known.weighed(counts) @ weights + self.bias)
        return np.concatenate(parts) if parts else np.empty((0, len(self.bias)))

    def score(self, texts: Sequence[str]) -> tuple[np.ndarray, list[str | None]]:
        """The score of each text, float64 [texts], and its class (None for a regression)."""
        outputs_TC = self.outputs(texts)
        if not self.labels:
            return outputs_TC[:, 0], [None] * len(texts)
        probabilities_TC = measures.softmax(outputs_TC) if len(texts) else outputs_TC
        found = np.argmax(probabilities_TC, axis=1)
        column = self.labels.index(self.positive) if self.positive else found
        return probabilities_TC[np.arange(len(texts)), column], [self.labels[i] for i in found]

    def save(self, path: PathLike) -> None:
        """Writes the folder `path`, the same bytes for the same model; model.json last."""
        path = as_path(path)
        path.mkdir(parents=True, exist_ok=True)
        (path / MODEL_FILE).unlink(missing_ok=True)
        buffer = io.BytesIO()
        arrays = {"columns": self.known.columns, "rarities": self.known.rarities}
        np.savez(buffer, allow_pickle=False, weights=self.weights, bias=self.bias, **arrays)
        write_atomic(path / WEIGHTS_FILE, buffer.getvalue())
        about = {"format": _FORMAT, "kind": "linear", "features": asdict(self.features)}
        write_json(path / MODEL_FILE, {**about, "labels": list(self.labels), "positive": self.positive})

    @classmethod
    def load(cls, path: PathLike) -> "LinearScorer":
        """Reads a folder that `save` wrote.

        Raises:
          DataError: it is missing, damaged, or of a newer format.
        """
        path = as_path(path)
        about = read_json(path / MODEL_FILE, "a linear score model; train it with `maxlm-data score --train`")
        if about.get("kind") != "linear" or about.get("format") != _FORMAT:
            raise DataError(f"{path / MODEL_FILE}: not a linear model of format {_FORMAT}: train it again")
        try:
            with np.load(io.BytesIO((path / WEIGHTS_FILE).read_bytes()), allow_pickle=False) as arrays:
                known = Known(arrays["columns"], arrays["rarities"])
                weights, bias = arrays["weights"], arrays["bias"]
            return cls(Features(**about["features"]), tuple(about["labels"]), about["positive"], known, weights, bias)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: damaged model ({error}): train it again") from error


def train(files: Sequence[PathLike], out: PathLike, settings: LinearSettings) -> dict[str, Any]:
    """Trains on labelled files, writes the model to the folder `out`, and returns its report.

    Raises:
      ConfigError: the positive class is none of the labels.
      DataError: labelled files that can't be used, or all of one class.
    """
    rows = labelled.read(files, settings.text_key, settings.label_key, settings.regression)
    if not settings.regression and len(rows.labels) < 2:
        raise DataError(f"{files[0]}: all labels are {', '.join(rows.labels)}; a classifier needs two classes or more")
    if settings.positive and settings.positive not in rows.labels:
        raise ConfigError(f"score: positive class {settings.positive!r} is none of {', '.join(rows.labels)}")
    if len(rows.texts) > settings.max_texts:
        drawn = np.random.default_rng(settings.seed).choice(len(rows.texts), settings.max_texts, replace=False)
        rows = rows.take(np.sort(drawn))
    start = time.monotonic()
    learnt, held = labelled.split(rows, settings.holdout, settings.seed)
    targets = learnt.targets[:, None] if settings.regression else np.eye(len(rows.labels))[learnt.targets]
    scorer, facts = fit(learnt.texts, targets, rows.labels, settings)
    report = {"texts": len(learnt.texts), **facts, "seconds": round(time.monotonic() - start, 2)}
    report |= judge(scorer, held)
    return save(scorer, report, out)


def fit(
    texts: Sequence[str], targets: np.ndarray, labels: tuple[str, ...], settings: LinearSettings
) -> tuple[LinearScorer, dict[str, Any]]:
    """A model that answers `targets` [texts, classes], and facts about its fit. Strength and temperature by folds."""
    counts = settings.features.counts(texts)
    regression = not labels
    centre, spread = (float(targets.mean()), float(targets.std()) or 1.0) if regression else (0.0, 1.0)
    scaled = (targets - centre) / spread
    parts = fitting.folds(len(texts), settings.seed)
    strength, heat = fitting.choose((_fold(counts, scaled, part) for part in parts), regression)
    known = Known.of(counts)
    found = fitting.fit(known.rows(counts), scaled, strength, regression)
    weights = (found.weights * (spread / heat)).astype(np.float32)
    bias = (found.bias * (spread / heat) + centre).astype(np.float32)
    scorer = LinearScorer(settings.features, labels, settings.positive, known, weights, bias)
    return scorer, {"columns": len(known.columns), "strength": strength, "temperature": heat}


def held_out_logits(texts: Sequence[str], targets: np.ndarray, settings: LinearSettings) -> np.ndarray:
    """Calibrated logits of each text by a model that never saw it: float64 [texts, classes]."""
    counts = settings.features.counts(texts)
    parts = fitting.folds(len(texts), settings.seed)
    strength, heat = fitting.choose(_fold(counts, targets, part) for part in parts)
    logits = np.empty_like(targets)
    for part in fitting.folds(len(texts), settings.seed, all_rows=True):
        rows, wanted, held_rows, _ = _fold(counts, targets, part)
        logits[part] = fitting.fit(rows, wanted, strength).outputs(held_rows) / heat
    return logits


def _fold(counts: sparse.csr_array, targets: np.ndarray, part: np.ndarray) -> fitting.Fold:
    learnt = np.setdiff1d(np.arange(len(targets)), part)
    known = Known.of(counts[learnt])
    return fitting.Fold(known.rows(counts[learnt]), targets[learnt], known.rows(counts[part]), targets[part])


def judge(scorer: LinearScorer, held: Labelled) -> dict[str, Any]:
    """What the model answers to texts that it never saw."""
    start = time.monotonic()
    outputs = scorer.outputs(held.texts)
    seconds = time.monotonic() - start
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in held.texts)
    if not held.texts:
        return {}
    if not held.labels:
        found = measures.of_values(outputs[:, 0], held.targets)
    else:
        found = measures.of_classes(outputs, held.targets)
    if len(held.labels) == 2:
        found["auc"] = measures.auc(outputs[:, 1] - outputs[:, 0], held.targets == 1)
    return {"held_out": {"texts": len(held.texts), **found}, "mb_per_s": round(size / 1e6 / max(seconds, 1e-9), 2)}


def save(scorer: LinearScorer, report: dict[str, Any], out: PathLike) -> dict[str, Any]:
    """Writes model and report to the folder `out`; returns the report."""
    report = {"labels": list(scorer.labels), "positive": scorer.positive, **report}
    scorer.save(out)
    write_json(as_path(out) / REPORT_FILE, report)
    return report
