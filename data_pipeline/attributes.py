"""The stages that speak of documents, in the order in which their words count, and the text that they leave.

Documents are immutable. A stage writes what it has to say of each (a reason against it, an edited text, a cluster) into
DATASET/corpus/attributes/<stage>: the same partitions, the same rows, the same order; reading side by side is the join.
"""

from collections.abc import Sequence

import pyarrow as pa
from etils import epath

from data_pipeline import engine
from data_pipeline.config import DataConfig
from data_pipeline.document import ATTRIBUTES, INGESTED
from maxlm.paths import PathLike, as_path

# What the name of a stage that scores begins with; the score's own name follows.
SCORE = "score-"


def stages(config: DataConfig) -> tuple[str, ...]:
    """The stages that `config` asks for, in order."""
    asked = {
        "clean": True,
        "segments": bool(config.segments.unit),
        "decontaminate": bool(config.decontaminate.benchmarks),
    }
    scores = (SCORE + score.name for score in config.scores)
    return (*(name for name, wanted in asked.items() if wanted), *scores, "dedup")


def folders_before(config: DataConfig, dataset: PathLike, stage: str) -> list[epath.Path]:
    """The folder of the documents and those of the attributes that `stage` builds on, all finished.

    Raises:
      DataError: one of them isn't; names the command to run.
    """
    asked = stages(config)
    earlier = asked[: asked.index(stage)] if stage in asked else asked
    if stage in asked:
        # Scores neither edit nor drop: only the decision reads them all.
        earlier = tuple(name for name in earlier if not name.startswith(SCORE))
    folders = [as_path(dataset) / INGESTED, *(as_path(dataset) / ATTRIBUTES / name for name in earlier)]
    for folder, command in zip(folders, ("ingest", *earlier), strict=True):
        engine.require(folder, "score" if command.startswith(SCORE) else command)
    return folders


def current_texts(documents: pa.Table, attributes: Sequence[pa.Table]) -> list[str | None]:
    """The text of each document as the stages so far leave it; None where one of them drops it."""
    texts: list[str | None] = documents["text"].to_pylist()
    for table in attributes:
        if "text" in table.column_names:
            texts = [old if new is None else new for old, new in zip(texts, table["text"].to_pylist(), strict=True)]
    for table in attributes:
        if "reason" in table.column_names:
            reasons = table["reason"].to_pylist()
            texts = [None if why is not None else text for text, why in zip(texts, reasons, strict=True)]
    return texts
