"""The state of training and the way to make it, split over the mesh from the start."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import replicated
from maxlm.parallel.sharding import optimizer_shardings, param_shardings


class TrainState(NamedTuple):
    """All that an update reads and writes. `step` counts finished updates."""

    params: Any  # float32 master weights, nested dict
    opt_state: Any
    step: Any  # int32 []
    key: Any  # random key data, uint32; for what draws numbers in a step (nothing does yet)


def state_shardings(model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """The sharding of every leaf of the state."""
    params = param_shardings(mesh, model.param_axes())
    optimizer = optimizer_shardings(mesh, tx, model.abstract_params(), params)
    return TrainState(params, optimizer, replicated(mesh), replicated(mesh))


def init_state(model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh, seed: int) -> TrainState:
    """A fresh state, each device making only its own part. Equal on every mesh for the same seed."""

    def make() -> TrainState:
        init_key, run_key = jax.random.split(jax.random.key(seed))
        params = model.init(init_key)
        return TrainState(params, tx.init(params), jnp.int32(0), jax.random.key_data(run_key))

    return jax.jit(make, out_shardings=state_shardings(model, tx, mesh))()


def begin_state(
    params: Any, model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh, seed: int
) -> TrainState:
    """A state that begins with these parameters, which lie on the mesh, at step 0."""

    def make(params: Any) -> TrainState:
        _, run_key = jax.random.split(jax.random.key(seed))
        return TrainState(params, tx.init(params), jnp.int32(0), jax.random.key_data(run_key))

    shardings = state_shardings(model, tx, mesh)
    return jax.jit(make, in_shardings=(shardings.params,), out_shardings=shardings)(params)


def abstract_state(model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Shapes, dtypes and shardings of the state, for restoring onto this mesh."""
    params = model.abstract_params()
    key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    shapes = TrainState(params, jax.eval_shape(tx.init, params), jax.ShapeDtypeStruct((), jnp.int32), key)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_shardings(model, tx, mesh),
    )
