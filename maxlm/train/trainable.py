"""Which parameters are trained: all, all but some that are frozen, or adapters of low rank beside some matrices.

What is not trained has no place in the optimizer: a tree of trained parameters holds optax.MaskedNode() for it.
"""

import fnmatch
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from maxlm.errors import ConfigError
from maxlm.train.config import OptimizerConfig

# Matrices within layers, stacked as [layers, …]: the dimensions that are summed over, and those that come out.
MATRICES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "query": ((1,), (2, 3)),
    "key": ((1,), (2, 3)),
    "value": ((1,), (2, 3)),
    "out": ((1, 2), (3,)),
    "gate": ((1,), (2,)),
    "up": ((1,), (2,)),
    "down": ((1,), (2,)),
}

Pick = Callable[[Any], Any]  # a tree of parameters -> the same, those that are not trained masked


def name_of(path: Sequence[Any]) -> str:
    """A parameter's name as patterns and checkpoints have it: layers.attention.query."""
    return ".".join(str(part.key) for part in path)


def trained(config: OptimizerConfig) -> Pick | None:
    """Picks the parameters that are trained; None: all are."""
    if not config.freeze and not config.lora_rank:
        return None

    def is_trained(path: Sequence[Any]) -> bool:
        name = name_of(path)
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in config.freeze):
            return False
        adapted = path[0].key == "layers" and path[-1].key in (config.lora_on or MATRICES)
        return adapted or not config.lora_rank

    def pick(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf if is_trained(path) else optax.MaskedNode(), params
        )

    return pick


def check_names(config: OptimizerConfig, params: Any) -> None:
    """Raises ConfigError for a pattern that fits no parameter, or if nothing is left to train."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    names = [name_of(path) for path in paths]
    for pattern in config.freeze:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(f"config.optimizer.freeze: {pattern!r} fits no parameter; there are {', '.join(names)}")
    ends = {path[-1].key for path in paths if path[0].key == "layers"} & MATRICES.keys()
    for name in config.lora_on if config.lora_rank else ():
        if name not in ends:
            known = ", ".join(sorted(ends))
            raise ConfigError(f"config.optimizer.lora_on: {name!r} is no matrix of the layers: {known}")
    pick = trained(config)
    if pick and not jax.tree.leaves(pick(params)):
        raise ConfigError("config.optimizer.freeze: nothing is left to train")


def on_trained(tx: optax.GradientTransformation, pick: Pick) -> optax.GradientTransformationExtraArgs:
    """An optimizer that sees the trained parameters alone; its updates are masked for the others."""
    inner = optax.with_extra_args_support(tx)

    def init(params: optax.Params) -> Any:
        return inner.init(pick(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        return inner.update(pick(updates), state, pick(params), **extra)

    return optax.GradientTransformationExtraArgs(init, update)


def filled(params: Any, picked: Any) -> Any:
    """`picked`, with those of `params` where it is masked."""
    return _map_picked(lambda new, old: old if _is_masked(new) else new, picked, params)


def applied(params: Any, updates: Any) -> Any:
    """Parameters with updates added; those without one stay what they are, bit for bit."""
    return _map_picked(lambda new, old: old if _is_masked(new) else optax.apply_updates(old, new), updates, params)


def gradients_of(updates: Any, grads: Any) -> Any:
    """The gradients of those parameters that have an update."""
    return _map_picked(lambda new, grad: new if _is_masked(new) else grad, updates, grads)


def _map_picked(function: Callable[[Any, Any], Any], picked: Any, whole: Any) -> Any:
    return jax.tree.map(function, picked, whole, is_leaf=_is_masked)


def _is_masked(leaf: Any) -> bool:
    return isinstance(leaf, optax.MaskedNode)


class LoraState(NamedTuple):
    a: Any  # [layers, in, rank] of each matrix
    b: Any  # [layers, rank, out]
    inner: Any  # of the rule that trains them


def lora(rule: optax.GradientTransformationExtraArgs, rank: int, alpha: float) -> optax.GradientTransformationExtraArgs:
    """Low-rank adapters (Hu et al., 2021, arXiv 2106.09685, section 4.1) as an optimizer of the matrices themselves.

    A matrix is ``W = W₀ + alpha/rank · A·B``, and `rule` trains A and B: their gradients follow from the matrix's by
    the chain rule, and the matrix is moved by what A·B has changed. So the parameters are at any time the merged ones.
    A begins at random, with the spread that a linear layer's weights have, and B at zero.
    """
    scale = alpha / rank

    def init(params: optax.Params) -> LoraState:
        def first(path: Any, leaf: Any) -> Any:
            layers, width, _ = _flat(path, leaf).shape
            key = jax.random.fold_in(jax.random.key(0), zlib.crc32(name_of(path).encode()))
            return jax.random.normal(key, (layers, width, rank)) / math.sqrt(3 * width)

        def second(path: Any, leaf: Any) -> Any:
            layers, _, width = _flat(path, leaf).shape
            return jnp.zeros((layers, rank, width))

        a, b = (jax.tree_util.tree_map_with_path(make, params) for make in (first, second))
        return LoraState(a, b, rule.init({"a": a, "b": b}))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, LoraState]:
        flat = jax.tree_util.tree_map_with_path(lambda path, leaf: scale * _flat(path, leaf), updates)
        own = {
            "a": jax.tree.map(lambda g, b: jnp.einsum("lio,lro->lir", g, b), flat, state.b),
            "b": jax.tree.map(lambda g, a: jnp.einsum("lio,lir->lro", g, a), flat, state.a),
        }
        before = {"a": state.a, "b": state.b}
        changes, inner = rule.update(own, state.inner, before, **extra)
        after: Any = optax.apply_updates(before, changes)

        def moved(leaf: Any, a: Any, b: Any, old_a: Any, old_b: Any) -> Any:
            # A'B' − AB, without the difference of two nearly equal products, which coarse ones would drown.
            change = jnp.einsum("lir,lro->lio", a - old_a, b) + jnp.einsum("lir,lro->lio", old_a, b - old_b)
            return (scale * change).reshape(leaf.shape)

        updates = jax.tree.map(moved, params, after["a"], after["b"], state.a, state.b)
        return updates, LoraState(after["a"], after["b"], inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _flat(path: Sequence[Any], leaf: Any) -> Any:
    """A stacked matrix as `[layers, in, out]`."""
    summed, _ = MATRICES[path[-1].key]
    width = math.prod(leaf.shape[dim] for dim in summed)
    return leaf.reshape(leaf.shape[0], width, -1)
