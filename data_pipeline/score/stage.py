"""Applies the scores that a config names to the documents that are left so far; trains their models."""

import glob
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from data_pipeline import attributes, engine
from data_pipeline.config import DataConfig, ScoreConfig
from data_pipeline.document import ATTRIBUTES
from maxlm import config as config_lib
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, is_local

if TYPE_CHECKING:
    from data_pipeline.score.encoder import EncoderScorer
    from data_pipeline.score.linear import LinearScorer

# Same rows as the documents. Null where a document was dropped before, or is of a domain that the score is not for.
SCORE_ATTRIBUTES = pa.schema([("id", pa.string()), ("score", pa.float64()), ("label", pa.string())])
_VERSION = 1
_LINEAR, _ENCODER = "model.json", "config.json"  # the file by which a model's folder is known


def run(config: DataConfig, dataset: PathLike) -> None:
    """Writes DATASET/corpus/attributes/score-NAME for each of config.scores.

    Raises:
      DataError: a stage before isn't finished, or a model is missing or damaged.
    """
    dataset = as_path(dataset)
    for score in config.scores:
        name = attributes.SCORE + score.name
        inputs = attributes.folders_before(config, dataset, name)
        names = engine.require(inputs[0], "ingest")
        model = model_digest(score.model)
        digest = engine.digest("score", [_VERSION, model, list(score.domains)], inputs)
        stage = engine.Stage(name, (dataset / ATTRIBUTES / name,), digest, config.runner)
        jobs = {part: [os.fspath(folder / part) for folder in inputs] for part in names}
        # An encoder keeps all cores, or the accelerators, busy from one process.
        size_bytes = 0 if _is_encoder(score.model) else sum((inputs[0] / part).stat().length for part in names)
        engine.make_partitions(stage, partial(_score_partition, score.model, model, score.domains), jobs, size_bytes)


def model_digest(path: PathLike) -> str:
    """The digest of a model's files, reports left out.

    Raises:
      DataError: no model stands there.
    """
    folder = as_path(path)
    if not (folder / _LINEAR).exists() and not (folder / _ENCODER).exists():
        raise DataError(f"{folder}: no score model stands there: train it with `maxlm-data score --train`")
    ends = (".json", ".npz", ".safetensors", ".txt")
    files = sorted(f for f in folder.iterdir() if f.suffix in ends and f.name != "report.json")
    total = hashlib.sha256()
    for file in files:
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while piece := opened.read(1 << 24):
                digest.update(piece)
        total.update(f"{file.name} {digest.hexdigest()}\n".encode())
    return total.hexdigest()


def _is_encoder(path: PathLike) -> bool:
    return not (as_path(path) / _LINEAR).exists()


@cache
def _load(path: str, digest: str) -> "LinearScorer | EncoderScorer":
    """The model in a folder, once in a process for as long as its `digest` stays."""
    if _is_encoder(path):
        from data_pipeline.score.encoder import EncoderScorer

        return EncoderScorer.load(path)
    from data_pipeline.score.linear import LinearScorer

    return LinearScorer.load(path)


def _score_partition(model: str, digest: str, domains: Sequence[str], paths: Sequence[str]) -> tuple[pa.Table]:
    documents, *said = (engine.read_partition(path) for path in paths)
    texts = attributes.current_texts(documents, said)
    known = documents["domain"].to_pylist()
    rows = [i for i, text in enumerate(texts) if text is not None and (not domains or known[i] in domains)]
    scores: list[float | None] = [None] * len(texts)
    labels: list[str | None] = [None] * len(texts)
    if rows:
        found, named = _load(model, digest).score([texts[i] or "" for i in rows])
        for i, score, label in zip(rows, found.tolist(), named, strict=True):
            scores[i], labels[i] = score, label
    return (pa.table([documents["id"], scores, labels], schema=SCORE_ATTRIBUTES),)


def train(
    score: ScoreConfig,
    out: PathLike = "",
    labelled_files: Sequence[str] = (),
    encoder: str = "",
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Trains the model of one score into `out` ("": where the score expects it) and returns the report.

    Args:
      score: what to learn, and from what.
      labelled_files: globs that stand in for those of the config.
      encoder: the folder of a checkpoint to fine-tune; "": the linear model.
      tell: is given a line now and then.

    Raises:
      ConfigError: settings that don't go together, or no labelled files are named.
      DataError: files that can't be used.
    """
    wanted, where = score.train, f"config.scores[{score.name!r}].train"
    out = out or score.model
    patterns = tuple(labelled_files) or wanted.labelled
    if encoder or wanted.encoder:
        from data_pipeline.score import encoder as encoder_lib
        from data_pipeline.score.encoder_settings import EncoderSettings

        if not patterns:
            raise ConfigError(f"{where}: an encoder learns from labelled files: name them (labelled, or --labelled)")
        shared = {name: getattr(wanted, name) for name in ("regression", "text_key", "label_key", "seed")}
        values = {**shared, "positive": score.positive, **({"start": encoder} if encoder else {}), **wanted.encoder}
        settings = config_lib.freeze(EncoderSettings, values, f"{where}.encoder")
        return encoder_lib.train(find(patterns, where), out, settings, tell=tell)
    from data_pipeline.score import linear, unlabelled
    from data_pipeline.score.features import Features

    settings = linear.LinearSettings(
        Features(buckets=wanted.buckets, max_chars=wanted.max_chars), wanted.regression, score.positive,
        wanted.text_key, wanted.label_key, wanted.holdout, wanted.max_texts, wanted.seed,
    )  # fmt: skip
    if patterns:
        return linear.train(find(patterns, where), out, settings)
    if not wanted.positive or not (wanted.negative or wanted.unlabelled):
        raise ConfigError(f"{where}: name labelled files, or positive ones and negative or unlabelled ones")
    positive, negative, heap = (find(files, where) for files in (wanted.positive, wanted.negative, wanted.unlabelled))
    return unlabelled.train(positive, negative, heap, out, settings)


def find(patterns: Sequence[str], where: str) -> list[str]:
    """The files that paths and globs name, each once, in order.

    Raises:
      DataError: one of them names none.
    """
    files: dict[str, None] = {}
    for pattern in patterns:
        found = sorted(glob.glob(pattern, recursive=True)) if is_local(pattern) else [pattern]
        if not found:
            raise DataError(f"{where}: no file matches {pattern!r}")
        files |= dict.fromkeys(found)
    return list(files)
