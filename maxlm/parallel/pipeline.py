"""Layers split between devices (the mesh axis `stage`), which work on microbatches one after the other.

At every tick each stage runs its layers on one microbatch and hands the result to the next stage (Huang et al., 2019,
GPipe). With `repeats` above 1 the layers are dealt out in turns, and microbatches go round as many times: the share of
ticks without work falls from (S - 1) / (M + S - 1) to (S - 1) / (R M + S - 1) (Narayanan et al., 2021, section 2.2).

Letters: S stages, M microbatches, R repeats; a leading dimension of M on what belongs to microbatches.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from maxlm.errors import ConfigError
from maxlm.parallel.axes import DATA, FSDP, STAGE, ways

# (activations, parameters of some layers, what else belongs to the microbatch) -> activations
Layers = Callable[[jax.Array, Any, Any], jax.Array]


def pipeline(
    layers: Layers, params: Any, x_BTD: jax.Array, beside: Any, microbatches: int = 0, repeats: int = 1
) -> jax.Array:
    """Runs stacked layers over the stages, `[batch, seq_len, embed]`.

    Args:
      layers: runs some layers in turn, given their parameters stacked.
      params: of all layers, stacked; their first dimension is split over the stages.
      x_BTD: activations; the batch is split over data, fsdp and stage.
      beside: arrays `[batch, …]` that go with the activations: positions, segments.
      microbatches: a multiple of the stages; 0: as many as stages.
      repeats: times that a microbatch goes round.

    Raises:
      ConfigError: layers, batch or microbatches do not divide.
    """
    stages = ways(STAGE)
    count = microbatches or stages
    _check(jax.tree.leaves(params)[0].shape[0], x_BTD.shape[0], stages, count, repeats)
    # Dealt out in turns: layer (r S + s) k + j is number j of stage s in round r. For one round that is how they lie.
    dealt = jax.tree.map(lambda leaf: leaf.reshape(repeats, stages, -1, *leaf.shape[1:]), params)
    split = jax.shard_map(
        lambda *arguments: _stage(layers, stages, repeats, *arguments),
        in_specs=(PartitionSpec(None, STAGE), PartitionSpec(), PartitionSpec()),
        out_specs=PartitionSpec(STAGE),
        axis_names={STAGE},
        check_vma=False,
    )
    rows = jax.tree.map(lambda array: _apart(array, count), (x_BTD, beside))
    return _together(split(dealt, *rows))


def _stage(layers: Layers, stages: int, repeats: int, params: Any, x_M: jax.Array, beside_M: Any) -> jax.Array:
    """One stage through all ticks; what it returns is its share of the finished microbatches, `[M / S, …]`."""
    index, count = lax.axis_index(STAGE), x_M.shape[0]

    def tick(carry: tuple[jax.Array, jax.Array, jax.Array], now: jax.Array) -> tuple[Any, None]:
        received, waiting_M, done_M = carry
        # What the last stage sent a tick ago waits at the first one for its next round.
        waiting_M = waiting_M.at[(now - stages) % count].set(received)
        turn = jnp.maximum(now - index, 0)  # how many microbatches this stage has worked on, all rounds counted
        number, round_ = turn % count, jnp.minimum(turn // count, repeats - 1)
        fresh = jnp.where(round_ == 0, x_M[number], waiting_M[number])
        mine = jax.tree.map(lambda leaf: leaf[round_, 0], params)
        out = layers(jnp.where(index == 0, fresh, received), mine, jax.tree.map(lambda leaf: leaf[number], beside_M))
        finished = (index == stages - 1) & (now - index >= (repeats - 1) * count)
        done_M = jnp.where(finished, done_M.at[number].set(out), done_M)
        return (lax.ppermute(out, STAGE, [(s, (s + 1) % stages) for s in range(stages)]), waiting_M, done_M), None

    start = jnp.zeros_like(x_M[0]), jnp.zeros_like(x_M), jnp.zeros_like(x_M)
    (_, _, done_M), _ = lax.scan(tick, start, jnp.arange(repeats * count + stages - 1))
    return lax.psum_scatter(done_M, STAGE, tiled=True)  # only the last stage's are not zero


def _check(layers: int, batch: int, stages: int, count: int, repeats: int) -> None:
    if layers % (stages * repeats):
        raise ConfigError(
            f"config.model.num_layers={layers} does not divide by the mesh's stage={stages} times "
            f"model.pipeline_repeats={repeats}"
        )
    if count % stages or batch % (count * ways(DATA) * ways(FSDP)):
        raise ConfigError(
            f"config.model.pipeline_microbatches={count}: it must be a multiple of the mesh's stage={stages}, and "
            f"data × fsdp times it must divide the {batch} rows that are worked off at once"
        )


def _apart(rows_B: jax.Array, count: int) -> jax.Array:
    """`[batch, …]` as `[microbatches, rows, …]`; a row's microbatch lies on the stage that has the row."""
    outer, stages = ways(DATA) * ways(FSDP), ways(STAGE)
    inner = rows_B.shape[0] // (outer * count)
    parts = rows_B.reshape(outer, stages, count // stages, inner, *rows_B.shape[1:])
    return jnp.moveaxis(parts, 0, 2).reshape(count, outer * inner, *rows_B.shape[1:])


def _together(parts_M: jax.Array) -> jax.Array:
    """What `_apart` undoes."""
    (count, rows), outer, stages = parts_M.shape[:2], ways(DATA) * ways(FSDP), ways(STAGE)
    parts = parts_M.reshape(stages, count // stages, outer, rows // outer, *parts_M.shape[2:])
    return jnp.moveaxis(parts, 2, 0).reshape(math.prod((count, rows)), *parts_M.shape[2:])
