"""Every parameter has a sharding, and whatever mirrors a parameter is split like it."""

import jax
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding

from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import optimizer_shardings, param_shardings
from maxlm.train.config import OptimizerConfig
from maxlm.train.optimizer import make_optimizer
from tests import tiny


def _shardings(tied: bool = True):
    model, mesh = DecoderFunction(tiny.model(tie_embeddings=tied)), tiny.mesh(2, 2, 2)
    return model, mesh, param_shardings(mesh, model.param_axes())


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_is_named_and_split(tied):
    model, _, shardings = _shardings(tied)
    params, axes = model.abstract_params(), model.param_axes()
    named = jax.tree.leaves_with_path(axes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    for (path, leaf), (_, sharding), (_, names) in zip(
        jax.tree.leaves_with_path(params), jax.tree.leaves_with_path(shardings), named, strict=True
    ):
        name = jax.tree_util.keystr(path)
        assert isinstance(sharding, NamedSharding), name
        assert len(names) == leaf.ndim, name
        parts = sharding.shard_shape(leaf.shape)
        # Matrices are split four ways; nothing but the norms is whole on every device.
        expected = leaf.size if "norm" in names else leaf.size // 4
        assert np.prod(parts) == expected, name
    assert jax.tree.structure(params) == jax.tree.structure(shardings)


def test_moments_are_split_like_their_parameters():
    model, mesh, shardings = _shardings()
    tx = make_optimizer(OptimizerConfig(), optax.constant_schedule(1e-3))
    params = model.abstract_params()
    split = optimizer_shardings(mesh, tx, params, shardings)
    state = jax.eval_shape(tx.init, params)
    assert jax.tree.structure(split) == jax.tree.structure(state)
    for moment in ("mu", "nu"):
        assert optax.tree.get(split, moment) == shardings
    moments = {id(leaf) for moment in ("mu", "nu") for leaf in jax.tree.leaves(optax.tree.get(split, moment))}
    rest = [leaf for leaf in jax.tree.leaves(split) if id(leaf) not in moments]
    assert len(rest) == 2  # the counts of Adam and of the schedule
    assert all(leaf.is_fully_replicated for leaf in rest)
