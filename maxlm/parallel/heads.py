"""Kernels that the compiler cannot split: every device runs them on its rows and heads."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from maxlm.parallel.axes import BATCH_AXES, MESH_AXES, TENSOR, free

# (queries, keys, values, segments) -> what the queries attend to
Attention = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], Any]


def on_own_heads(
    local: Attention, q_BTNH: jax.Array, k_BSKH: jax.Array, v_BSKH: jax.Array, segments_BT: jax.Array
) -> jax.Array:
    """`local` of each device's rows and heads; without a mesh, of all."""
    if jax.sharding.get_abstract_mesh().empty:
        return local(q_BTNH, k_BSKH, v_BSKH, segments_BT)
    heads, rows = PartitionSpec(free(BATCH_AXES), None, TENSOR), PartitionSpec(free(BATCH_AXES))
    split = jax.shard_map(
        local, in_specs=(heads, heads, heads, rows), out_specs=heads, axis_names={*free(MESH_AXES)}, check_vma=False
    )
    return split(q_BTNH, k_BSKH, v_BSKH, segments_BT)
