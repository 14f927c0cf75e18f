"""Norms of gradients and parameters, layer by layer: where in the model something grows."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_STACKED = "layers"  # the parameters that hold all layers, along their first dimension


def layer_norms(tree: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Euclidean norms of a tree of parameters: "layers" `[num_layers]`, and one of each other entry."""
    return {
        name: _norm(part, keep=1 if name == _STACKED else 0)
        for name, part in tree.items()
    }  # fmt: skip


def _norm(part: Any, keep: int) -> jax.Array:
    squares = [
        jnp.square(leaf.astype(jnp.float32)).sum(axis=tuple(range(keep, leaf.ndim))) for leaf in jax.tree.leaves(part)
    ]
    return jnp.sqrt(sum(squares))


def norms_when(wanted: jax.Array, params: Mapping[str, Any], grads: Mapping[str, Any]) -> dict[str, Any]:
    """Norms of both if `wanted` (bool []), else zeros, for which no memory is read."""

    def found() -> dict[str, Any]:
        return {"grad": layer_norms(grads), "param": layer_norms(params)}

    def nothing() -> dict[str, Any]:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(found))

    return jax.lax.cond(wanted, found, nothing)


def as_scalars(norms: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """``grad_norm/layers/007`` and the like."""
    scalars = {}
    for kind, parts in norms.items():
        for name, values in parts.items():
            if values.ndim == 0:
                scalars[f"{kind}_norm/{name}"] = float(values)
            for index, value in enumerate(values if values.ndim else ()):
                scalars[f"{kind}_norm/{name}/{index:03d}"] = float(value)
    return scalars
