"""The optimizer: gradient clipping and AdamW, decaying matrices only."""

from typing import Any

import jax
import optax

from maxlm.train.config import OptimizerConfig


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """AdamW after clipping by the global norm."""
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    adamw = optax.adamw(schedule, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=decays)
    return optax.chain(clip, adamw)


def decays(params: dict[str, Any]) -> dict[str, Any]:
    """Which parameters decay: all but the norms' scales and the biases, whatever their rank (layers are stacked)."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not path[-1].key.endswith(("scale", "bias")), params)
