"""A module as pure functions of its parameters, and layers that are stacked along a first dimension."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
from flax import nnx

M = TypeVar("M", bound=nnx.Module)


class ModuleFunction(Generic[M]):
    """A module as pure functions of its parameters, a nested dict of arrays."""

    def __init__(self, build: Callable[[nnx.Rngs], M]):
        self._make = build
        self._graph, self._state = nnx.split(nnx.eval_shape(self._build))

    def _build(self, key: jax.Array | None = None) -> M:
        return self._make(nnx.Rngs(params=jax.random.key(0) if key is None else key))

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Fresh parameters, float32. The same key gives the same values on any mesh."""
        return nnx.to_pure_dict(nnx.state(self._build(key)))

    def abstract_params(self) -> dict[str, Any]:
        """Shapes and dtypes of the parameters."""
        return nnx.to_pure_dict(self._state)

    def param_axes(self) -> dict[str, Any]:
        """Logical axis names of every parameter, in the tree of the parameters (tuples as leaves)."""

        def axes(variable: nnx.Variable) -> tuple[str, ...]:
            names = variable.get_metadata("axes")
            stacked = variable.get_value().ndim - len(names)  # layers are stacked in front
            return ("layers",) * stacked + names

        leaves = jax.tree.map(axes, self._state, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
        return nnx.to_pure_dict(leaves)

    def bind(self, params: dict[str, Any]) -> M:
        """The module with these parameters."""
        state = jax.tree.map(lambda leaf: leaf, self._state)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(self._graph, state)


def stacked(build: Callable[[nnx.Rngs], M], count: int, rngs: nnx.Rngs) -> M:
    """`count` modules as one whose parameters have a first dimension more; each draws its own."""

    @nnx.split_rngs(splits=count)
    @nnx.vmap
    def build_all(rngs: nnx.Rngs) -> M:
        return build(rngs)

    return build_all(rngs)
