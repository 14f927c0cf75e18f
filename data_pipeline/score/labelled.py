"""Texts with a label or a value each, to train and to judge scores: JSON lines, CSV or Parquet."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from etils import epath

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path

_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


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
      files: *.parquet, *.csv, or anything else as JSON lines; the latter two also as .gz, .bz2 or .zst.
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


def read_texts(files: Sequence[PathLike], text_key: str = "text") -> list[str]:
    """The texts of all files, in order; whatever else the rows hold.

    Raises:
      DataError: a file is missing, or a row has no text; names both.
    """
    return [_text(row, text_key, where) for file in files for where, row in _rows(file)]


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
    compression = _COMPRESSIONS.get(path.suffix)
    if (path.with_suffix("") if compression else path).suffix == ".csv":
        yield from _csv_rows(path, compression)
        return
    with path.open("rb") as raw, _plain(raw, compression) as lines:
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


def _csv_rows(path: epath.Path, compression: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as raw, io.TextIOWrapper(_plain(raw, compression), "utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, strict=True)
        try:
            for row in table:
                yield f"{path}, line {table.line_num}", {key: row[key] for key in table.fieldnames or ()}
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, line {table.line_num}: not CSV in UTF-8 ({error})") from error


def _plain(raw: Any, compression: str | None) -> Any:
    return io.BufferedReader(pa.CompressedInputStream(raw, compression)) if compression else raw


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
    if isinstance(value, str):  # as CSV has them
        try:
            value = float(value)
        except ValueError:
            pass
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key!r} should be a number, found {value!r}")
    return float(value)
