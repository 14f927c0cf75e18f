"""What stands at the end of a run: its parameters, and the uses of the documents."""

from pathlib import Path

import jax
import numpy as np

from data_pipeline.mix.ledger import Ledger
from maxlm.config import freeze
from maxlm.models.decoder import DecoderFunction
from maxlm.train.checkpoint import Checkpoints
from maxlm.train.config import Config


def params_of(workdir: Path) -> list[np.ndarray]:
    """The parameters of the newest checkpoint."""
    checkpoints = Checkpoints(workdir)
    step = checkpoints.steps()[-1]
    model = DecoderFunction(freeze(Config, checkpoints.meta(step).config).model)
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), model.abstract_params()
    )
    params = checkpoints.restore_params(step, abstract)
    checkpoints.close()
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def ledger_uses(dataset: Path) -> np.ndarray:
    return Ledger.standing(dataset).uses()
