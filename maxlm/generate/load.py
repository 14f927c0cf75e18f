"""A trained model from its run's folder, ready for evaluation or generation."""

import dataclasses
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from maxlm import config as configs
from maxlm.errors import CheckpointError
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import MeshConfig, make_mesh
from maxlm.parallel.sharding import param_shardings
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.load import load_tokenizer
from maxlm.train.checkpoint import Checkpoints, Meta, choose_step
from maxlm.train.config import Config


class TrainedModel(NamedTuple):
    """A checkpoint's model on this machine's devices."""

    config: Config
    model: DecoderFunction
    params: dict[str, Any]
    tokenizer: Tokenizer
    meta: Meta
    mesh: Mesh


def load_model(
    workdir: PathLike, step: int | None = None, overrides: configs.Overrides = (), average: bool = False
) -> TrainedModel:
    """Loads the parameters of a checkpoint (the newest by default) with the config that it carries.

    `average`: the parameters' moving average (config.optimizer.ema_decay), instead of the last ones.
    The mesh is all devices of this machine split by fsdp, unless `overrides` say otherwise.

    Raises:
      CheckpointError: no such checkpoint, or one that can't be read or keeps no average.
      DataError: the run's tokenizer is missing.
    """
    if not (as_path(workdir) / "checkpoints").exists():
        raise CheckpointError(f"{workdir}: no checkpoints; has a block been trained (maxlm train --workdir={workdir})?")
    checkpoints = Checkpoints(workdir)
    step = choose_step(checkpoints, step)
    meta = checkpoints.meta(step)
    config = dataclasses.replace(checkpoints.config(step), mesh=MeshConfig())
    config = configs.with_overrides(config, overrides)
    devices = make_mesh(config.mesh)
    model = DecoderFunction(config.model)
    abstract = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        model.abstract_params(),
        param_shardings(devices, model.param_axes()),
    )
    params = checkpoints.restore_params(step, abstract, average)
    checkpoints.close()
    tokenizer = load_tokenizer(as_path(workdir) / "tokenizer")
    return TrainedModel(config, model, params, tokenizer, meta, devices)
