"""Figures as plain data, for maxlm/report to draw: what was measured, and the curves through it."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def series(name: str, x: Any, y: Any) -> dict[str, Any]:
    """Points of a name; on a line they stand in their order."""
    return {"name": name, "x": np.asarray(x, float).tolist(), "y": np.asarray(y, float).tolist()}


def figure(
    title: str,
    x: str,
    y: str,
    *,
    dots: Sequence[dict[str, Any]] = (),
    lines: Sequence[dict[str, Any]] = (),
    bands: Sequence[dict[str, Any]] = (),
    log_x: bool = False,
    log_y: bool = False,
) -> dict[str, Any]:
    """One pair of axes. A band is a series with `low` and `high` in place of y."""
    return {
        "title": title, "x": x, "y": y, "log_x": log_x, "log_y": log_y, "dots": list(dots), "lines": list(lines),
        "bands": list(bands),
    }  # fmt: skip


def band(name: str, x: Any, low: Any, high: Any) -> dict[str, Any]:
    return {
        "name": name, "x": np.asarray(x, float).tolist(), "low": np.asarray(low, float).tolist(),
        "high": np.asarray(high, float).tolist(),
    }  # fmt: skip
