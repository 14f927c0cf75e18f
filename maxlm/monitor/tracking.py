"""Weights & Biases, if the config asks for it; otherwise it is not even imported."""

import importlib.util
from collections.abc import Mapping
from typing import Any

from maxlm.errors import ConfigError
from maxlm.monitor.config import WandbConfig


class Tracker:
    """Sends what the run writes into its metrics to a project of Weights & Biases."""

    def __init__(self, config: WandbConfig, run_id: str, run_config: Mapping[str, Any], folder: str):
        """`run_id`: the same for all starts of a run, which then make one curve.

        Raises:
          ConfigError: the package is not installed.
        """
        self._run = None
        if not config.project:
            return
        if importlib.util.find_spec("wandb") is None:
            raise ConfigError(f"config.wandb.project={config.project!r} needs a package: pip install 'maxlm[wandb]'")
        import wandb

        self._run = wandb.init(
            project=config.project, entity=config.entity or None, name=config.name or run_id, id=run_id,
            resume="allow", config=dict(run_config), dir=folder,
        )  # fmt: skip
        # Steps that a kill undid come again; wandb's own counter would refuse them.
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._run is not None:
            self._run.log({"step": step, **scalars})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
