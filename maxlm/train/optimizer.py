"""The optimizer: clipping, a rule by name, weight decay on matrices; by choice widths that transfer and an average.

A new rule is a function and a line in RULES.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from maxlm.errors import ConfigError
from maxlm.train.config import Config, OptimizerConfig
from maxlm.train.preference import LOSSES, keep_reference
from maxlm.train.trainable import MATRICES, lora, on_trained, trained

_TABLES = ("embedding", "position", "output")
_CONSISTENT_RMS = 0.2  # Muon's updates as large as AdamW's usually are, so that learning rates mean the same


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule, width_multiplier: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Clipping by the global norm, then the rule `config.name`, then what the config adds; of what is trained.

    `width_multiplier`: how much wider the model is than the one whose learning rate this is (muP).

    Raises:
      ConfigError: the rule has no width transfer.
    """
    pick = trained(config)
    if pick is not None:
        return on_trained(_whole(config, schedule, width_multiplier), pick)
    return _whole(config, schedule, width_multiplier)


def optimizer_for(config: Config, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """`make_optimizer` of a run: where its loss compares with a reference, that is kept in the optimizer's state.

    Raises:
      ConfigError: the rule has no width transfer.
    """
    tx = make_optimizer(config.optimizer, schedule, config.model.width_multiplier)
    if config.train.loss not in LOSSES:
        return tx
    return optax.chain(tx, keep_reference(trained(config.optimizer) or (lambda params: params)))


def _whole(
    config: OptimizerConfig, schedule: optax.Schedule, width_multiplier: float
) -> optax.GradientTransformationExtraArgs:
    """The optimizer of those parameters that are trained, whichever they are."""
    # In the same place whether it clips or not, so that the optimizer's state looks the same.
    parts = [optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()]
    parts.append(RULES[config.name](config, schedule))
    if width_multiplier != 1:
        if config.name not in _TRANSFERS:
            raise ConfigError(
                f"config.optimizer.name={config.name!r}: learning rates transfer over widths (model.mup_base_embed) "
                f"with {', '.join(_TRANSFERS)} alone"
            )
        parts.append(_scale_hidden(1 / width_multiplier))
    if config.ema_decay:
        parts.append(average_params(config.ema_decay))
    chained = optax.with_extra_args_support(optax.chain(*parts))
    return lora(chained, config.lora_rank, config.lora_alpha) if config.lora_rank else chained


def _adamw(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Loshchilov and Hutter, 2019 (arXiv 1711.05101)."""
    rule = optax.scale_by_adam(config.b1, config.b2, config.eps)
    return optax.chain(rule, _decay(config), _scale_by(schedule))


def _lion(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Chen et al., 2023 (arXiv 2302.06675); wants a learning rate 3 to 10 times smaller than AdamW's."""
    return optax.chain(optax.scale_by_lion(config.b1, config.b2), _decay(config), _scale_by(schedule))


def _adafactor(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Shazeer and Stern, 2018 (arXiv 1804.04235): second moments as rows and columns, no first moment."""
    rule = optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
    return optax.chain(rule, _decay(config), _scale_by(schedule))


def _sgd(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Nesterov's momentum `b1`; the decay is a part of the gradient."""
    return optax.chain(_decay(config), optax.trace(config.b1, nesterov=True), _scale_by(schedule))


def _muon(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Jordan, 2024, scaled as in Liu et al., 2025 (arXiv 2502.16982): matrices of the layers.

    Tables, norms and biases take Adam's steps, with Nesterov's momentum too, and do not decay.
    """
    rule = contrib.muon(
        1.0,
        beta=config.muon_momentum,
        eps=config.eps,
        weight_decay=config.weight_decay,
        adam_b1=config.b1,
        adam_b2=config.b2,
        consistent_rms=_CONSISTENT_RMS,
        muon_weight_dimension_numbers=_muon_dimensions,
    )
    return optax.chain(rule, _scale_by(schedule, sign=1))  # contrib.muon has turned the sign already


RULES: dict[str, Callable[[OptimizerConfig, optax.Schedule], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "muon": _muon,
    "lion": _lion,
    "adafactor": _adafactor,
    "sgd": _sgd,
}
_TRANSFERS = ("adamw", "lion", "adafactor")  # rules whose updates do not grow with the gradient


def _scale_by(schedule: optax.Schedule, sign: int = -1) -> optax.GradientTransformationExtraArgs:
    """Updates times the learning rate at the run's step, which `update` is given as `step`.

    Not at this rule's own count, as optax has it: that would fall behind by each update that was left out.
    """

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(jnp.zeros([], jnp.int32))

    def update(
        updates: optax.Updates, state: Any, params: Any = None, *, step: Any = None, **_: Any
    ) -> tuple[optax.Updates, optax.ScaleByScheduleState]:
        step = state.count if step is None else step
        rate = sign * schedule(step)
        scaled = jax.tree.map(lambda leaf: jnp.asarray(rate, leaf.dtype) * leaf, updates)
        return scaled, optax.ScaleByScheduleState(jnp.asarray(step + 1, jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)


def decays(params: Any, tables: bool = True) -> Any:
    """Which parameters decay: matrices, and with `tables` embeddings; norms and biases never."""
    names = {*MATRICES, *(_TABLES if tables else ())}
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in names, params)


def _decay(config: OptimizerConfig) -> optax.GradientTransformation:
    return optax.add_decayed_weights(config.weight_decay, lambda params: decays(params, config.decay_tables))


def _muon_dimensions(params: Any) -> Any:
    def dimensions(path: Any, _: Any) -> contrib.MuonDimensionNumbers | None:
        name = path[-1].key
        return contrib.MuonDimensionNumbers(*MATRICES[name]) if name in MATRICES else None

    return jax.tree_util.tree_map_with_path(dimensions, params)


def _scale_hidden(factor: float) -> optax.GradientTransformation:
    """Smaller steps for the layers' matrices (Yang et al., 2022, arXiv 2203.03466, table 8, Adam)."""

    def scale(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        def one(path: Any, update: Any) -> Any:
            return update * factor if path[-1].key in MATRICES else update

        return jax.tree_util.tree_map_with_path(one, updates)

    return optax.stateless(scale)


class AverageState(NamedTuple):
    average: Any  # as the parameters


def average_params(decay: float) -> optax.GradientTransformation:
    """Keeps ``average ← decay · average + (1 - decay) · params``, from the first parameters on; last in a chain."""

    def init(params: optax.Params) -> AverageState:
        return AverageState(jax.tree.map(lambda leaf: leaf, params))

    def update(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, AverageState]:
        after = optax.apply_updates(params, updates)
        return updates, AverageState(jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.average, after))

    return optax.GradientTransformation(init, update)
