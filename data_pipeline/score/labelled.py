"""Texts with a label or a value each, to train and to judge scores: JSON lines or Parquet."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path


class Labelled(NamedTuple):
    """Texts, and of each either its class or its value."""

    texts: list[str]
    labels: tuple[str, ...]  # names of the classes, sorted; () for a regression
    targets: np.ndarray  # [texts]: index into labels, int64; or the value, float64

    def take(self, rows: Sequence[int] | np.ndarray) -> "Labelled":
        """The texts at these rows, under the same labels."""
        return Labelled([self.texts[i] for i in rows], self.labels, self.targets[rows])


def read(
    files: Sequence[PathLike],
    text_key: str = "text",
    label_key: str = "label",
    regression: bool = False,
    labels: tuple[str, ...] = (),
) -> Labelled:
    """Reads all rows of all files, in order.

    Args:
      files: *.parquet, or anything else as JSON lines.
      text_key: column of the text; where a row has none, `content` and `sentence` are tried.
      label_key: column of the class (a word or a whole number), or of the value of a regression.
      regression: whether that column holds numbers to be met.
      labels: the classes that there may be; (): those that occur.

    Raises:
      DataError: a file is missing or empty, or a row lacks a key or has a value that can't be used; names both.
    """
    texts, found = [], []
    for file in files:
        rows = 0
        for where, row in _rows(file):
            texts.append(_text(row, text_key, where))
            found.append(_value(row, label_key, where) if regression else _label(row, label_key, labels, where))
            rows += 1
        if not rows:
            raise DataError(f"{file}: holds no labelled rows")
    if regression:
        return Labelled(texts, (), np.array(found, np.float64))
    names = labels or tuple(sorted(set(found)))
    index = {name: i for i, name in enumerate(names)}
    return Labelled(texts, names, np.array([index[name] for name in found], np.int64))


def split(rows: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """Splits off a `share` (at least one text) as held out; of each class its share, as near as whole texts allow.

    Raises:
      DataError: fewer than two texts.
    """
    if len(rows.texts) < 2:
        raise DataError(f"{len(rows.texts)} labelled texts: none can be held out to judge by")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows.texts))
    if rows.labels:
        # Sorted by class, with an even step through all of them: every class gives its share, the smallest in turn.
        order = order[np.argsort(rows.targets[order], kind="stable")]
    count = min(max(round(share * len(order)), 1), len(order) - 1)
    places = ((np.arange(count) + rng.random()) * len(order) / count).astype(int)
    held = np.zeros(len(order), bool)
    held[order[places]] = True
    return rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))


def _rows(file: PathLike) -> Iterator[tuple[str, dict[str, Any]]]:
    path = as_path(file)
    if not path.exists():
        raise DataError(f"{path}: no such file of labelled texts")
    if path.suffix == ".parquet":
        from data_pipeline import engine

        for i, row in enumerate(engine.read_partition(path).to_pylist()):
            yield f"{path}, row {i}", row
        return
    with path.open("rb") as lines:
        for i, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{path}, line {i}: not JSON ({error}); one object a line was expected") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {i}: expected an object, found {type(row).__name__}")
            yield f"{path}, line {i}", row


def _text(row: dict[str, Any], key: str, where: str) -> str:
    for name in (key, "content", "sentence"):
        if isinstance(row.get(name), str):
            return row[name]
    raise DataError(f"{where}: no text under {key!r}; it has {', '.join(row)}")


def _label(row: dict[str, Any], key: str, known: tuple[str, ...], where: str) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where}: {key!r} should be a label (a word or a whole number), found {value!r}")
    if known and str(value) not in known:
        raise DataError(f"{where}: label {str(value)!r} is none of {', '.join(known)}")
    return str(value)


def _value(row: dict[str, Any], key: str, where: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key!r} should be a number, found {value!r}")
    return float(value)
