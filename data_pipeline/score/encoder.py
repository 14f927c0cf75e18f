"""Scores by an encoder of the BERT family: fine-tuned from labelled texts, applied in batches of few shapes.

This file is the door: the work stands in classifier.py and finetune.py, which import jax and are imported when needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipeline.score import labelled, measures
from data_pipeline.score.encoder_settings import SCORE_FILE, EncoderSettings, MeshSizes
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, read_json

if TYPE_CHECKING:
    from data_pipeline.score.classifier import Classifier

_SETTINGS, _MESH = EncoderSettings(), MeshSizes()


def train(
    files: Sequence[PathLike],
    out: PathLike,
    settings: EncoderSettings = _SETTINGS,
    held_out: Sequence[PathLike] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fine-tunes an encoder on labelled texts, calibrates it and writes it to the folder `out`.

    What stands there then is a checkpoint as any other: config.json with the labels, model.safetensors (whose head
    has the temperature in it, or a regression's mean and spread), the tokenizer, score.json (how to apply it) and
    report.json.
    Deterministic by `settings.seed` on the same devices.

    Args:
      files: *.parquet or JSON lines; see labelled.read.
      out: a folder; its config.json is written last.
      settings: how.
      held_out: more labelled files, to report on; () reports on half of what is held out of `files`.
      tell: is given a line after each epoch.

    Returns:
      The report: sizes, epochs, temperature, and measures on held-out texts before and after calibration.

    Raises:
      ConfigError: settings that don't go together, or don't fit the devices.
      DataError: labelled files or a checkpoint that can't be used.
    """
    from data_pipeline.score import finetune

    rows = labelled.read(files, settings.text_key, settings.label_key, settings.regression)
    if not settings.regression and len(rows.labels) < 2:
        alike = ", ".join(map(repr, rows.labels))
        raise DataError(f"{files[0]}: all labels are {alike}; a classifier needs two classes or more")
    if settings.positive and settings.positive not in rows.labels:
        raise ConfigError(f"encoder: positive={settings.positive!r} is none of the labels {', '.join(rows.labels)}")
    fitted, held = labelled.split(rows, settings.holdout, settings.seed)
    if held_out:
        judged = labelled.read(held_out, settings.text_key, settings.label_key, settings.regression, rows.labels)
    else:
        held, judged = labelled.split(held, 0.5, settings.seed)
    return finetune.fit(fitted, held, judged, as_path(out), settings, tell)


@dataclass
class EncoderScorer:
    """A fine-tuned encoder that scores texts. `load` makes one.

    It uses all devices, and an accelerator belongs to one process: a stage runs it in its own, without a pool
    (`engine.make_partitions` with size_bytes=0).

    Attributes:
      labels: names of the classes; () for a regression.
      positive: the class whose probability is the score; "": the probability of the likeliest class.
    """

    labels: tuple[str, ...]
    positive: str
    classifier: "Classifier" = field(repr=False)

    @classmethod
    def load(
        cls, path: PathLike, mesh: MeshSizes = _MESH, dtype: str = "", batch_tokens: int = 16_384
    ) -> "EncoderScorer":
        """Reads a folder that `train` wrote, or any checkpoint for sequence classification with its tokenizer.

        Args:
          path: the folder.
          mesh: devices, as in training.
          dtype: of the computation; "": as in training, else float32.
          batch_tokens: places of a batch on each device.

        Raises:
          ConfigError: a model of another kind, or one that doesn't fit the mesh.
          DataError: damaged or incomplete, or without a head.
        """
        from data_pipeline.score import classifier

        applied_path = as_path(path) / SCORE_FILE
        applied = read_json(applied_path, "how an encoder is applied") if applied_path.exists() else {}
        loaded = classifier.load(
            path,
            mesh,
            dtype or applied.get("dtype", "float32"),
            batch_tokens,
            int(applied.get("max_tokens", 512)),
            int(applied.get("windows", 1)),
        )
        labels = () if loaded.encoder.regression else loaded.encoder.labels
        positive = str(applied.get("positive", ""))
        if positive and positive not in labels:
            raise DataError(f"{applied_path}: positive class {positive!r} is none of config.json's {', '.join(labels)}")
        return cls(labels, positive, loaded)

    def score(self, texts: Sequence[str]) -> tuple[np.ndarray, list[str | None]]:
        """The score of each text, float64 `[texts]`, and its label (None for a regression).

        A text's score doesn't depend on the others beyond rounding. For a regression it is the value.
        """
        outputs_TC = self.classifier.outputs(texts)
        if not self.labels:
            return outputs_TC[:, 0], [None] * len(texts)
        probabilities_TC = measures.softmax(outputs_TC)
        found = np.argmax(probabilities_TC, axis=1) if len(texts) else np.zeros(0, int)
        column = self.labels.index(self.positive) if self.positive else found
        return probabilities_TC[np.arange(len(texts)), column], [self.labels[i] for i in found]
