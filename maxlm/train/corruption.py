"""Silent data corruption: a device that computes something else than it should, which neither loss nor norm need show.

Bits are compared, as sums of words modulo 2³², which any single flipped bit changes. Every device sums up what it
holds, so that what differs can be named by device and parameter.
"""

import functools
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec

from maxlm.blocks.format import Batch
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import batch_sharding, replicated
from maxlm.parallel.sharding import param_shardings
from maxlm.train.config import TrainSettings
from maxlm.train.preference import reference_of
from maxlm.train.state import TrainState, abstract_state, state_shardings
from maxlm.train.step import gradients
from maxlm.train.trainable import Pick

_WORDS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}  # by bytes


class Probed(NamedTuple):
    """What a batch gives with some parameters."""

    loss: Any
    grad_norm: Any
    gradient_sums: Any  # of each device and parameter, uint32 `[devices, leaves]`


class Probe:
    """Works a step's loss and gradient out beside training: the state is only read. Compiled when it is first asked."""

    def __init__(
        self,
        model: DecoderFunction,
        tx: optax.GradientTransformation,
        settings: TrainSettings,
        mesh: Mesh,
        pick: Pick | None = None,
    ):
        """`pick`: the parameters that are trained, whose gradient a step's norm is of; None: all."""
        self._settings, self._mesh, self._held = settings, mesh, _Held(model, tx, mesh)
        shardings = param_shardings(mesh, model.param_axes())
        self._names = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(shardings)]

        def probe(params: dict[str, Any], batch: Batch, reference: Any = None) -> Probed:
            (loss, _), grads = gradients(model, settings, params, batch, reference)
            norm = optax.tree.norm(pick(grads) if pick else grads)
            return Probed(loss, norm, device_sums(grads, shardings, mesh))

        splits = (shardings, batch_sharding(mesh), None)
        self._probe = jax.jit(probe, in_shardings=splits, out_shardings=replicated(mesh))

    def figures(self, params: dict[str, Any], batch: Batch, opt_state: Any = None) -> tuple[float, float]:
        """Loss and norm of the gradient. `opt_state`: where a loss of pairs keeps its reference."""
        reference = None if opt_state is None else reference_of(self._settings, opt_state, params)
        found = jax.device_get(self._probe(params, batch, reference))
        return float(found.loss), float(found.grad_norm)

    def differences(self, state: TrainState, batch: Batch) -> list[str]:
        """What differs between two goes at the same gradient, and between copies on several devices of what is held.

        Gradients are not compared on GPUs unless XLA is told to be deterministic: sums that are not in a fixed order
        are no fault.
        """
        words = [f"{name} on {self._device(at)} is not what its copies are" for at, name in self._held.unlike(state)]
        if not _is_deterministic(self._mesh):
            return words
        first, second = (jax.device_get(self._probe(state.params, batch, None)) for _ in range(2))
        unlike = np.argwhere(first.gradient_sums != second.gradient_sums)
        if len(unlike) == 0 and np.array_equal(first.loss, second.loss, equal_nan=True):
            return words
        third = jax.device_get(self._probe(state.params, batch, None))
        stays = not np.array_equal(second.gradient_sums, third.gradient_sums)
        again = "and a third time differently" if stays else "the third time as the second"
        words += [f"the gradient of {self._names[leaf]} on {self._device(at)} came out twice differently, {again}"
                  for at, leaf in unlike]  # fmt: skip
        return words or [f"the loss came out as {first.loss} and as {second.loss}"]

    def _device(self, at: int) -> str:
        device = self._mesh.devices.flat[at]
        return f"{device} (process {device.process_index})"


class _Held:
    """All of a state that lies on several devices alike: parameters, moments, adapters, references."""

    def __init__(self, model: DecoderFunction, tx: optax.GradientTransformation, mesh: Mesh):
        self._model, self._tx, self._mesh = model, tx, mesh

    def unlike(self, state: TrainState) -> list[tuple[int, str]]:
        """(device, name) of each part that is not equal to most of its copies; of two, both."""
        names, of_leaves, sums = self._compiled
        return [(at, names[leaf]) for at, leaf in _unlike_copies(jax.device_get(sums(state)), of_leaves)]

    @functools.cached_property
    def _compiled(self) -> tuple[list[str], list[np.ndarray], Callable[[TrainState], jax.Array]]:
        """Names of the leaves, their twins, and the sums of each device."""
        shardings = state_shardings(self._model, self._tx, self._mesh)
        leaves = jax.tree.leaves_with_path(abstract_state(self._model, self._tx, self._mesh))
        of_leaves = [twins(leaf.sharding, leaf.shape) for _, leaf in leaves]
        sums = jax.jit(
            lambda state: device_sums(state, shardings, self._mesh),
            in_shardings=(shardings,),
            out_shardings=replicated(self._mesh),
        )
        return [jax.tree_util.keystr(path).lstrip(".") for path, _ in leaves], of_leaves, sums


def device_sums(tree: Any, shardings: Any, mesh: Mesh) -> jax.Array:
    """Of each device's part of each leaf the sum of its words, uint32 `[devices, leaves]`, devices as in the mesh."""

    def sums(leaves: list[jax.Array]) -> jax.Array:
        return jnp.stack([_word_sum(leaf) for leaf in leaves])[None]

    specs = [sharding.spec for sharding in jax.tree.leaves(shardings)]
    everywhere = PartitionSpec(mesh.axis_names)
    summed = jax.shard_map(sums, mesh=mesh, in_specs=(specs,), out_specs=everywhere, check_vma=False)
    return summed(jax.tree.leaves(tree))


def _word_sum(leaf: jax.Array) -> jax.Array:
    words = jax.lax.bitcast_convert_type(leaf, _WORDS[leaf.dtype.itemsize])
    return words.astype(jnp.uint32).sum(dtype=jnp.uint32)


def twins(sharding: jax.sharding.Sharding, shape: tuple[int, ...]) -> np.ndarray:
    """For each device of the mesh the first one that holds the same part, int `[devices]`."""
    first: dict[tuple[tuple[int | None, int | None], ...], int] = {}
    parts = (tuple((s.start, s.stop) for s in part) for part in sharding.devices_indices_map(shape).values())
    return np.array([first.setdefault(part, at) for at, part in enumerate(parts)])


def _unlike_copies(sums: np.ndarray, of_leaves: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """(device, leaf) of each part that is not equal to most of its copies; of two, both."""
    found = []
    for leaf, first in enumerate(of_leaves):
        for part in np.unique(first):
            places = np.flatnonzero(first == part)
            values, counts = np.unique(sums[places, leaf], return_counts=True)
            usual = values[counts.argmax()] if 2 * counts.max() > len(places) else None
            found += [(int(at), leaf) for at in places if len(values) > 1 and sums[at, leaf] != usual]
    return found


def _is_deterministic(mesh: Mesh) -> bool:
    flags = os.environ.get("XLA_FLAGS", "")
    asked = re.search(r"--xla_gpu_(deterministic_ops|exclude_nondeterministic_ops)(=true|=1|\s|$)", flags)
    return mesh.devices.flat[0].platform != "gpu" or asked is not None
