"""Runs of known laws, for tests of the fits."""

import numpy as np

from maxlm.scaling.points import Points


def points(words: dict[str, list[str]] | None = None, **columns) -> Points:
    """Columns as runs; a double underscore stands for the slash in a name."""
    numbers = {name.replace("__", "/"): np.asarray(values, float) for name, values in columns.items()}
    return Points("made", numbers, words or {})
