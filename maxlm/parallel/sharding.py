"""From logical axis names to shardings of whole trees of parameters and optimizer state."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding

from maxlm.parallel.axes import spec
from maxlm.parallel.mesh import replicated


def param_shardings(mesh: Mesh, param_axes: dict[str, Any]) -> dict[str, Any]:
    """A sharding for every parameter from the logical names of its dimensions (tuples of names as leaves)."""
    return jax.tree.map(
        lambda names: NamedSharding(mesh, spec(*names)), param_axes, is_leaf=lambda leaf: isinstance(leaf, tuple)
    )


def optimizer_shardings(
    mesh: Mesh, tx: optax.GradientTransformation, params: dict[str, Any], shardings: dict[str, Any]
) -> Any:
    """Shardings of the optimizer's state: whatever mirrors a parameter is split like it, the rest is replicated.

    Rows and columns of a factored moment (Adafactor) have another shape than their parameter: they are replicated.
    """

    whole = replicated(mesh)

    def split(leaf: Any, param: Any, sharding: NamedSharding) -> Any:
        if isinstance(leaf, optax.MaskedNode):  # a parameter that this part of the optimizer leaves to another
            return leaf
        return sharding if leaf.shape == param.shape else whole

    return optax.tree.map_params(
        tx,
        split,
        jax.eval_shape(tx.init, params),
        params,
        shardings,
        transform_non_params=lambda _: whole,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
