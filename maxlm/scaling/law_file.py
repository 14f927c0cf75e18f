"""A law of one's own: the file that `maxlm fit` writes."""

from typing import Any

from maxlm.errors import ConfigError
from maxlm.paths import PathLike, as_path, read_json
from maxlm.scaling.laws import LossLaw

CONSTANTS = ("E", "A", "B", "alpha", "beta")


def read_law(path: PathLike) -> LossLaw:
    """The fitted L(N, D) of a file.

    Raises:
      DataError: no such file, or no JSON.
      ConfigError: it holds another kind of fit.
    """
    values: dict[str, Any] = read_json(as_path(path), "fit")
    if values.get("kind") != "loss" or not all(name in values.get("constants", {}) for name in CONSTANTS):
        raise ConfigError(f"{path}: no fit of L(N, D); maxlm fit --kind=loss writes one")
    E, A, B, alpha, beta = (float(values["constants"][name]) for name in CONSTANTS)
    draws = tuple(tuple(float(number) for number in draw) for draw in values["draws"])
    source = f"maxlm fit on {values['points']} points of {values['data']}"
    return LossLaw(str(path), source, E=E, A=A, B=B, alpha=alpha, beta=beta, draws=draws)
