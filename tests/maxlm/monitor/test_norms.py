"""Norms by layer against NumPy, and at no other steps than those that are logged."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from maxlm.models.decoder import DecoderFunction
from maxlm.monitor.detectors import NO_LIMITS
from maxlm.monitor.norms import as_scalars, layer_norms, norms_when
from maxlm.parallel.mesh import batch_sharding
from maxlm.train.config import TrainSettings
from maxlm.train.state import init_state
from maxlm.train.step import make_train_step
from tests import tiny


def _tree(seed: int):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    return {
        "embedding": draw(7, 3),
        "layers": {"attention": {"query": draw(4, 3, 2, 5)}, "norm": {"scale": draw(4, 3)}},
        "norm": {"scale": draw(3)},
    }


def _by_hand(tree):
    each = [
        np.sqrt(sum(np.square(leaf[i].astype(np.float64)).sum() for leaf in jax.tree.leaves(tree["layers"])))
        for i in range(4)
    ]
    plain = {
        name: np.sqrt(np.square(np.float64(jax.tree.leaves(tree[name])[0])).sum()) for name in ("embedding", "norm")
    }
    return {"layers": each, **plain}


def test_layers_and_the_rest():
    tree = _tree(0)
    found, expected = layer_norms(tree), _by_hand(tree)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    assert optax.tree.norm(tree) == pytest.approx(np.sqrt(sum(np.square(v).sum() for v in expected.values())), rel=1e-6)


def test_only_when_wanted():
    params, grads = _tree(0), _tree(1)
    found = jax.jit(norms_when)(True, params, grads)
    np.testing.assert_allclose(found["grad"]["layers"], _by_hand(grads)["layers"], rtol=1e-6)
    np.testing.assert_allclose(found["param"]["layers"], _by_hand(params)["layers"], rtol=1e-6)
    nothing = jax.jit(norms_when)(False, params, grads)
    assert not any(leaf.any() for leaf in jax.tree.leaves(nothing))


def test_names():
    norms = {"grad": {"layers": np.array([1.0, 2.0]), "embedding": np.array(3.0)}}
    assert as_scalars(norms) == {"grad_norm/layers/000": 1, "grad_norm/layers/001": 2, "grad_norm/embedding": 3}
    assert as_scalars({}) == {}


def test_in_the_step_on_several_devices():
    """Every other step, of gradients whose total is the step's own; the update is the same with and without."""
    mesh, model = tiny.mesh(fsdp=2, tensor=2), DecoderFunction(tiny.model())
    schedule = optax.constant_schedule(1e-2)
    tx, ends = optax.adamw(schedule), []
    batch = tiny.batch()
    for log_norms in (True, False):
        settings = TrainSettings(batch=tiny.BATCH, log_every=2, log_norms=log_norms)
        with jax.set_mesh(mesh):
            state = init_state(model, tx, mesh, 0)
            step = make_train_step(model, tx, schedule, settings, mesh, num_domains=2)
            placed = jax.device_put(batch, batch_sharding(mesh))
            before, seen = jax.device_get(state.params), []
            for _ in range(2):
                params = jax.device_get(state.params)
                state, metrics = step(state, placed, NO_LIMITS)
                seen.append(jax.device_get(metrics))
            ends.append(jax.device_get(state.params))
        if not log_norms:
            assert "norms" not in seen[0]
            continue
        assert not any(leaf.any() for leaf in jax.tree.leaves(seen[0]["norms"]))
        norms = seen[1]["norms"]
        total = np.sqrt(sum(np.square(leaf).sum() for leaf in jax.tree.leaves(norms["grad"])))
        np.testing.assert_allclose(total, seen[1]["grad_norm"], rtol=1e-5)
        expected = np.linalg.norm(params["embedding"])
        np.testing.assert_allclose(norms["param"]["embedding"], expected, rtol=1e-5)
        assert norms["param"]["embedding"] != np.linalg.norm(before["embedding"])
        assert norms["grad"]["layers"].shape == (2,)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), *ends)
    assert jnp.isfinite(ends[0]["embedding"]).all()
