"""Checkpoints written and read a leaf at a time: the same bits as orbax's own, in pieces that bound the memory."""

import functools
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from maxlm import config as configs
from maxlm.errors import CheckpointError
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.sharding import param_shardings
from maxlm.train import checkpoint, stored
from maxlm.train.checkpoint import Checkpoints, Meta, Position
from maxlm.train.config import Config, OptimizerConfig
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import begin_state, init_state
from tests import tiny

META = Meta(Position(), configs.to_dict(Config(model=tiny.model())), tiny.VOCAB)
MODEL = DecoderFunction(tiny.model())


def _abstract(mesh):
    shardings = param_shardings(mesh, MODEL.param_axes())
    with_sharding = lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
    return jax.tree.map(with_sharding, MODEL.abstract_params(), shardings)


@pytest.fixture(scope="module")
def params():
    return jax.device_get(MODEL.init(jax.random.key(0)))


def _streamed(folder, params) -> list:
    """Writes a checkpoint leaf by leaf; returns what was asked for, in order."""
    asked = []

    def read(path, layer):
        asked.append((path, layer))
        value = functools.reduce(lambda tree, key: tree[key], path, params)
        return value if layer is None else np.asfortranarray(value[layer])  # as a transposed view would be

    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    shapes = {tuple(key.key for key in path): leaf.shape for path, leaf in leaves}
    checkpoints = Checkpoints(folder)
    checkpoints.save_params(shapes, read, META)
    checkpoints.close()
    return asked


def test_orbax_restores_what_was_streamed(tmp_path, params):
    asked = _streamed(tmp_path, params)
    assert len(asked) == len(set(asked)) == 9 * 2 + 2  # every layer of nine stacked leaves, and two others, once
    checkpoints = Checkpoints(tmp_path)
    assert (checkpoints.steps(), checkpoints.meta(0), checkpoints.has_optimizer(0)) == ([0], META, False)
    for sizes in ({"fsdp": 4, "tensor": 2}, {}):
        tiny.assert_equal(checkpoints.restore_params(0, _abstract(tiny.mesh(**sizes))), params)
    folder = checkpoints.folder / "0" / "params"
    tiny.assert_equal(stored.StreamHandler().restore(folder, ocp.args.StandardRestore(_abstract(tiny.mesh()))), params)


def test_large_leaves_lie_in_pieces(tmp_path, params, monkeypatch):
    """No piece is larger than it may be, nor runs over two layers, whether streamed or saved by orbax."""
    monkeypatch.setattr(stored, "CHUNK_BYTES", 2048)
    monkeypatch.setattr(checkpoint, "CHUNK_BYTES", 2048)
    _streamed(tmp_path / "a", params)
    tx = make_optimizer(OptimizerConfig(), lambda _: 1e-3)
    checkpoints = Checkpoints(tmp_path / "b")
    checkpoints.save(init_state(MODEL, tx, tiny.one_device(), 0), META)
    checkpoints.close()
    for run in "ab":
        base = f"file://{tmp_path}/{run}/checkpoints/0/params/"
        for name in ("embedding", "layers.mlp.gate", "layers.attention.query", "norm.scale"):
            kvstore = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
            array = ts.open({"driver": "zarr", "kvstore": kvstore}, open=True, read=True).result()
            chunk = array.chunk_layout.read_chunk.shape
            assert 4 * np.prod(chunk) <= 2048, (run, name, chunk)
            assert chunk[0] == 1 or not name.startswith("layers"), (run, name, chunk)
    arrays = Checkpoints(tmp_path / "a").stored(0)[0]
    np.testing.assert_array_equal(arrays.read("layers.mlp.gate", 1), params["layers"]["mlp"]["gate"][1])
    np.testing.assert_array_equal(arrays.read("embedding"), params["embedding"])


@given(st.data())
def test_a_part_is_read_chunk_by_chunk(data):
    """Of any array, wherever the part begins and ends within its chunks; some at once, or each by itself."""
    shape = data.draw(st.lists(st.integers(0, 9), max_size=3))
    chunks = [data.draw(st.integers(1, max(size, 1))) for size in shape]
    metadata = {"shape": shape, "chunks": chunks, "dtype": "<f4"}
    array = ts.open({"driver": "zarr", "kvstore": "memory://", "metadata": metadata}, create=True, open=True).result()
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    array.write(values).result()
    bounds = [sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))) for size in shape]
    part = tuple(slice(first, past) for first, past in bounds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_READ_TOGETHER_BYTES", data.draw(st.sampled_from([1, 100, 1 << 20])))
        np.testing.assert_array_equal(stored._gathered(array[part]), values[part])


def test_the_average(tmp_path):
    """Read from the optimizer's state onto any mesh; refused where none is kept."""
    tx = make_optimizer(OptimizerConfig(ema_decay=0.5), lambda _: 1e-3)
    state = init_state(MODEL, tx, tiny.mesh(fsdp=2), 0)
    average = jax.tree.map(lambda leaf: leaf + 1, state.params)
    state = state._replace(opt_state=(*state.opt_state[:-1], state.opt_state[-1]._replace(average=average)))
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, META)
    checkpoints.wait()
    found = checkpoints.restore_params(0, _abstract(tiny.mesh(tensor=2, fsdp=2)), average=True)
    tiny.assert_equal(found, average)
    assert found["embedding"].sharding.mesh.shape["tensor"] == 2
    arrays, prefix = checkpoints.stored(0, average=True)
    np.testing.assert_array_equal(arrays.read(prefix + "norm.scale"), average["norm"]["scale"])
    _streamed(tmp_path / "none", jax.device_get(state.params))
    with pytest.raises(CheckpointError, match="keeps no average of the parameters; training with config"):
        Checkpoints(tmp_path / "none").stored(0, average=True)


def test_damage_is_told(tmp_path, params):
    _streamed(tmp_path, params)
    folder = tmp_path / "checkpoints" / "0" / "params"
    arrays = stored.StoredArrays(folder)
    shutil.rmtree(folder / "d")
    with pytest.raises(CheckpointError, match=r"params: embedding can't be read"):
        arrays.read("embedding")
    (folder / "manifest.ocdbt").write_bytes(b"no database")
    with pytest.raises(CheckpointError, match=r"params: can't be read"):
        stored.StoredArrays(folder)


def test_training_begins_with_given_parameters(params):
    mesh = tiny.mesh(fsdp=2)
    tx = make_optimizer(OptimizerConfig(ema_decay=0.5), lambda _: 1e-3)
    placed = jax.device_put(params, param_shardings(mesh, MODEL.param_axes()))
    state, fresh = begin_state(placed, MODEL, tx, mesh, seed=3), init_state(MODEL, tx, mesh, seed=3)
    tiny.assert_equal(state.params, params)
    tiny.assert_equal(state.opt_state[-1].average, params)
    tiny.assert_equal((state.step, state.key), (fresh.step, fresh.key))
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == jax.tree.map(lambda leaf: leaf.sharding, fresh)
