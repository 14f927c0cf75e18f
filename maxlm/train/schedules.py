"""Learning-rate schedules over a known number of steps. A new one is a function and a line in SCHEDULES."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from maxlm.train.config import ScheduleConfig


def _wsd(peak: float, config: ScheduleConfig, warmup: int, steps: int) -> optax.Schedule:
    """Warm-up, stable, decay (Hu et al., 2024, MiniCPM); the decay is 1 - sqrt (Hägele et al., 2024, section 3)."""
    decay = round(config.decay_share * steps)

    def cooldown(count):
        share = jnp.sqrt(jnp.minimum(count / max(decay, 1), 1.0))
        return peak * (config.final_share + (1 - config.final_share) * (1 - share))

    stable = optax.constant_schedule(peak)
    return optax.join_schedules([_warmup(peak, warmup), stable, cooldown], [warmup, steps - decay])


def _cosine(peak: float, config: ScheduleConfig, warmup: int, steps: int) -> optax.Schedule:
    decay = optax.cosine_decay_schedule(peak, max(steps - warmup, 1), alpha=config.final_share)
    return optax.join_schedules([_warmup(peak, warmup), decay], [warmup])


def _linear(peak: float, config: ScheduleConfig, warmup: int, steps: int) -> optax.Schedule:
    decay = optax.linear_schedule(peak, peak * config.final_share, max(steps - warmup, 1))
    return optax.join_schedules([_warmup(peak, warmup), decay], [warmup])


def _constant(peak: float, config: ScheduleConfig, warmup: int, steps: int) -> optax.Schedule:
    return optax.join_schedules([_warmup(peak, warmup), optax.constant_schedule(peak)], [warmup])


def _warmup(peak: float, warmup: int) -> optax.Schedule:
    return lambda count: peak * (count + 1) / max(warmup, 1)  # the first step learns already


SCHEDULES: dict[str, Callable[[float, ScheduleConfig, int, int], optax.Schedule]] = {
    "wsd": _wsd,
    "cosine": _cosine,
    "linear": _linear,
    "constant": _constant,
}


def make_schedule(peak: float, config: ScheduleConfig, steps: int) -> optax.Schedule:
    """The learning rate at each of `steps` steps."""
    return SCHEDULES[config.name](peak, config, round(config.warmup_share * steps), steps)
