"""Runs as points to fit to: a CSV of anybody's, or the results of `maxlm sweep`."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maxlm.errors import DataError, did_you_mean
from maxlm.paths import PathLike, as_path

Array = NDArray[np.float64]
Rows = NDArray[np.integer]
RESULTS_FILE = "results.jsonl"
# what the fits call a column -> what else it is called in the world
_ALSO = {
    "params": ("parameters", "N", "model_size", "Model Size"),
    "tokens": ("D", "Training Tokens"),
    "flops": ("C", "compute", "Training FLOP"),
    "loss": ("validation_loss", "val_loss", "L"),
    "learning_rate": ("lr",),
    "batch": ("batch_tokens", "batch_size"),
}
_SHARE, _LOSS = "share/", "loss/"


@dataclass(frozen=True)
class Points:
    """Columns of equal length: numbers, or text where a column holds any."""

    source: str
    columns: dict[str, Array]
    words: dict[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def number(self, name: str) -> Array:
        """A column of positive numbers.

        Raises:
          DataError: no such column, or a number in it that is none.
        """
        if name in self.words:
            raise DataError(f"{self.source}: column {name!r} holds text where numbers are needed")
        if name not in self.columns:
            also = ", ".join(_ALSO.get(name, ()))
            raise DataError(
                f"{self.source}: no column {name!r}{f' (or {also})' if also else ''}"
                f"{did_you_mean(name, [*self.columns, *self.words])}; --columns {name}=NAME says which it is"
            )
        values = self.columns[name]
        if bad := np.flatnonzero(~(np.isfinite(values) & (values > 0))).tolist():
            raise DataError(
                f"{self.source}, row {bad[0] + 1}: {name} is {values[bad[0]]:g}, and must be a positive number"
                f"{f' ({len(bad)} such rows)' if len(bad) > 1 else ''}; take out runs that failed"
            )
        return values

    def has(self, name: str) -> bool:
        return name in self.columns or name in self.words

    def word(self, name: str) -> list[str]:
        """A column as text.

        Raises:
          DataError: no such column.
        """
        if not self.has(name):
            raise DataError(f"{self.source}: no column {name!r}{did_you_mean(name, [*self.columns, *self.words])}")
        return self.words.get(name) or [f"{value:g}" for value in self.columns[name]]

    def domains(self) -> list[str]:
        """Domains whose shares the runs name: columns share/DOMAIN."""
        return [name.removeprefix(_SHARE) for name in self.columns if name.startswith(_SHARE)]

    def losses(self) -> list[str]:
        """Domains whose loss the runs name: columns loss/DOMAIN."""
        return [name.removeprefix(_LOSS) for name in self.columns if name.startswith(_LOSS)]

    def shares(self) -> Array:
        """`[points, domains]`, each row summing to 1.

        Raises:
          DataError: there are none, or they do not sum up.
        """
        if not (domains := self.domains()):
            raise DataError(f"{self.source}: no columns share/DOMAIN; a mixture law needs two or more")
        shares = np.stack([self.columns[_SHARE + name] for name in domains], axis=1)
        sums = shares.sum(axis=1)
        if bad := np.flatnonzero(~(np.abs(sums - 1) < 0.02) | (shares < 0).any(axis=1)).tolist():
            raise DataError(f"{self.source}, row {bad[0] + 1}: shares sum to {sums[bad[0]]:.3g}, and must to 1")
        return shares / sums[:, None]

    def where(self, name: str, value: str) -> "Points":
        """The runs with this value in a column.

        Raises:
          DataError: there are none.
        """
        words = self.word(name)
        wanted = value if name in self.words else _plain_number(value)
        rows = np.array([i for i, word in enumerate(words) if word == wanted], int)
        if not len(rows):
            raise DataError(f"{self.source}: no run has {name}={value}; there are {', '.join(sorted(set(words))[:12])}")
        return self.only(rows)

    def without_highest(self, number: int) -> "Points":
        """Without the runs of the highest losses, such as diverged."""
        return self if number <= 0 else self.only(np.sort(np.argsort(self.number("loss"), kind="stable")[:-number]))

    def only(self, rows: Rows) -> "Points":
        """Some of the rows."""
        return Points(
            self.source,
            {name: values[rows] for name, values in self.columns.items()},
            {name: [words[i] for i in rows] for name, words in self.words.items()},
        )


def read_points(path: PathLike, renamed: Mapping[str, str] | None = None) -> Points:
    """Reads a CSV with a header, a file of JSON lines, or a sweep's folder.

    Args:
      renamed: what the fits call a column -> what this file calls it.

    Raises:
      DataError: no such file, no rows, or a named column that is not there.
    """
    path = as_path(path)
    path = path / RESULTS_FILE if path.is_dir() else path
    if not path.exists():
        raise DataError(f"{path}: no such file; a CSV with a header, or the folder of a sweep, is needed")
    if path.suffix == ".csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(path.read_text().splitlines()))
    else:
        rows = [_flat(json.loads(line)) for line in path.read_text().splitlines() if line.strip()]
    if not rows:
        raise DataError(f"{path}: holds no runs")
    names = list(dict.fromkeys(name for row in rows for name in row if name))
    for ours, theirs in (renamed or {}).items():
        if theirs not in names:
            raise DataError(f"{path}: --columns {ours}={theirs}: no column {theirs!r}{did_you_mean(theirs, names)}")
    columns: dict[str, Array] = {}
    words: dict[str, list[str]] = {}
    for name in names:
        ours = _our_name(name, names, renamed or {})
        values = [_number(row.get(name)) for row in rows]
        if any(isinstance(value, str) for value in values):
            words[ours] = [str(row.get(name)) for row in rows]
        else:
            columns[ours] = np.array(values, float)
    return _completed(Points(str(path), columns, words))


def _our_name(name: str, names: list[str], renamed: Mapping[str, str]) -> str:
    for ours, theirs in renamed.items():
        if name == theirs:
            return ours
    for ours, others in _ALSO.items():
        if name in others and ours not in names and ours not in renamed:
            return ours
    return name


def _number(text: Any) -> float | str:
    if text is None or text == "":
        return math.nan
    try:
        return float(text)
    except (TypeError, ValueError):
        return str(text)


def _plain_number(text: str) -> str:
    value = _number(text)
    return value if isinstance(value, str) else f"{value:g}"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """{"share": {"en": 0.5}} as {"share/en": 0.5}."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _completed(points: Points) -> Points:
    """The third of N, D and C, by C = 6ND."""
    columns = points.columns
    have = {name: columns[name] for name in ("params", "tokens", "flops") if name in columns}
    if "tokens" not in have and len(have) == 2:
        columns["tokens"] = have["flops"] / (6 * have["params"])
    if "flops" not in have and len(have) == 2:
        columns["flops"] = 6 * have["params"] * have["tokens"]
    if "params" not in have and len(have) == 2:
        columns["params"] = have["flops"] / (6 * have["tokens"])
    return points
