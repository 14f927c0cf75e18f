"""Checkpoints: whatever mesh wrote one, any mesh reads it bit for bit; damage is told, not guessed around."""

import dataclasses
import gc
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from maxlm import config as configs
from maxlm.errors import CheckpointError, DamagedCheckpointError
from maxlm.models.decoder import DecoderFunction
from maxlm.train.checkpoint import Checkpoints, Meta, Position, check_model, choose_step
from maxlm.train.config import Config, OptimizerConfig
from maxlm.train.integrity import check_digests
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import TrainState, abstract_state, init_state
from tests import tiny

POSITION = Position(step=7, blocks_done=1, block=1, batch=3, finished_block=0)
# orbax leaves the other reads of a failed restore unfinished; they are told whenever they are collected
UNFINISHED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TX = make_optimizer(OptimizerConfig(), lambda _: 1e-3)


def _meta(position: Position = POSITION, **model) -> Meta:
    config = Config(model=tiny.model(**model))
    return Meta(position, configs.to_dict(config), config.model.vocab_size)


def _state(mesh) -> TrainState:
    """A state that no two leaves of are alike."""
    state = init_state(DecoderFunction(tiny.model()), TX, mesh, seed=0)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jax.device_put(leaf + rng.integers(1, 9, leaf.shape).astype(leaf.dtype), leaf.sharding), state
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run's folder with one checkpoint, written from fsdp=8, and what was saved."""
    workdir = tmp_path_factory.mktemp("run")
    state = _state(tiny.mesh(fsdp=8))
    checkpoints = Checkpoints(workdir)
    checkpoints.save(state, _meta())
    checkpoints.wait()
    checkpoints.close()
    return workdir, jax.device_get(state)


@pytest.fixture
def own_copy(saved, tmp_path):
    """The same, to damage."""
    shutil.copytree(saved[0], tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2), (8, 1, 1), (1, 1, 1)])
def test_restored_onto_another_mesh_bit_for_bit(saved, sizes):
    workdir, expected = saved
    abstract = abstract_state(DecoderFunction(tiny.model()), TX, tiny.mesh(*sizes))
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(7, abstract)
    checkpoints.close()
    tiny.assert_equal(state, expected)
    for leaf, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(abstract), strict=True):
        assert leaf.sharding.is_equivalent_to(wanted.sharding, leaf.ndim)
        assert leaf.dtype == wanted.dtype


def test_parameters_alone(saved):
    workdir, expected = saved
    abstract = abstract_state(DecoderFunction(tiny.model(scan_layers=False)), TX, tiny.mesh(2, 2, 2))
    checkpoints = Checkpoints(workdir)
    tiny.assert_equal(checkpoints.restore_params(7, abstract.params), expected.params)
    checkpoints.close()


def test_meta_and_steps(saved):
    checkpoints = Checkpoints(saved[0])
    assert checkpoints.steps() == [7]
    assert checkpoints.meta(7) == _meta()
    assert choose_step(checkpoints, None) == choose_step(checkpoints, 7) == 7
    with pytest.raises(CheckpointError, match="no checkpoint of step 8"):
        choose_step(checkpoints, 8)
    checkpoints.close()


def test_an_empty_run(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == []
    with pytest.raises(CheckpointError, match=r"no complete checkpoint; has a block been trained"):
        choose_step(checkpoints, None)
    checkpoints.close()


def test_model_of_another_shape_is_named_key_by_key():
    meta = _meta()
    check_model(meta, tiny.model(dtype="bfloat16", remat="full", scan_layers=False), "RUN")  # shapes stay
    with pytest.raises(
        CheckpointError, match=r"RUN: .*another shape \(num_layers 2 → 3, mlp 64 → 96\); leave the keys out"
    ):
        check_model(meta, tiny.model(num_layers=3, mlp=96), "RUN")
    with pytest.raises(CheckpointError, match=r"vocab_size 128 → 256, tie_embeddings True → False"):
        check_model(meta, tiny.model(vocab_size=256, tie_embeddings=False), "RUN")


@UNFINISHED
def test_restoring_into_another_shape_is_refused(saved):
    abstract = abstract_state(DecoderFunction(tiny.model(mlp=96)), TX, tiny.one_device())
    checkpoints = Checkpoints(saved[0])
    with pytest.raises(CheckpointError, match=r"checkpoints/7: can't be restored"):
        checkpoints.restore(7, abstract)
    checkpoints.close()
    gc.collect()


@pytest.mark.parametrize("damage", ["missing", "cut short", "not an object", "key lost"])
def test_damaged_description(own_copy, damage):
    (path,) = (own_copy / "checkpoints" / "7" / "meta").glob("metadata")
    values = json.loads(path.read_text())
    if damage == "missing":
        path.unlink()
    elif damage == "cut short":
        path.write_text(path.read_text()[:40])
    elif damage == "not an object":
        path.write_text("[1, 2]")
    else:
        path.write_text(json.dumps({key: value for key, value in values.items() if key != "position"}))
    checkpoints = Checkpoints(own_copy)
    with pytest.raises(CheckpointError, match=r"checkpoints/7: the checkpoint's description can't be read"):
        checkpoints.meta(7)
    checkpoints.close()


def test_format_of_another_version(own_copy):
    (path,) = (own_copy / "checkpoints" / "7" / "meta").glob("metadata")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    checkpoints = Checkpoints(own_copy)
    with pytest.raises(CheckpointError, match="format 99, and this program reads up to 2; update"):
        checkpoints.meta(7)
    checkpoints.close()


def _files(folder):
    """What a checkpoint holds but for its digests and its description."""
    paths = [path for path in (folder / "checkpoints" / "7").rglob("*") if path.is_file()]
    passed_over = ("digests.json", "_CHECKPOINT_METADATA", "commit_success.txt")
    return [path for path in paths if path.name not in passed_over and "meta" not in path.parts and path.stat().st_size]


def _restore(folder):
    abstract = abstract_state(DecoderFunction(tiny.model()), TX, tiny.one_device())
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints.restore(7, abstract)
    finally:
        checkpoints.close()
        gc.collect()


@UNFINISHED
@pytest.mark.parametrize("damage", ["flipped", "cut short", "gone", "grown"])
def test_damage_to_any_file_is_found_and_the_file_named(own_copy, damage):
    rng, files = np.random.default_rng(0), _files(own_copy)
    last_of_items = {path.relative_to(own_copy).parts[2]: path for path in files}.values()
    assert len(last_of_items) == 2  # parameters, optimizer
    for path in files:
        whole = path.read_bytes()
        if damage == "flipped":
            place = int(rng.integers(len(whole)))
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
        elif damage == "gone":
            path.unlink()
        else:
            path.write_bytes(whole[:-1] if damage == "cut short" else whole + b"x")
        with pytest.raises(DamagedCheckpointError, match=re.escape(str(path))):
            check_digests(epath.Path(own_copy / "checkpoints" / "7"))
        if path in last_of_items:  # and whoever restores asks for that
            with pytest.raises(DamagedCheckpointError, match=re.escape(str(path))):
                _restore(own_copy)
        path.write_bytes(whole)
    assert int(_restore(own_copy).step) > 0


def test_checkpoints_without_digests(own_copy, saved):
    """As the first versions wrote them."""
    (own_copy / "checkpoints" / "7" / "digests.json").unlink()
    tiny.assert_equal(_restore(own_copy), saved[1])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 3}'])
def test_damaged_digests(own_copy, text):
    (own_copy / "checkpoints" / "7" / "digests.json").write_text(text)
    with pytest.raises(DamagedCheckpointError, match=r"digests\.json"):
        _restore(own_copy)


def _small(step: int) -> tuple[TrainState, Meta]:
    return TrainState({"w": jnp.full(3, step)}, {"m": jnp.zeros(3)}, jnp.int32(step), jnp.zeros(2, jnp.uint32)), _meta(
        dataclasses.replace(POSITION, step=step)
    )


def test_interrupted_saves_are_passed_over(own_copy):
    """A kill in mid-save leaves a temporary folder behind; it is no checkpoint and in nobody's way."""
    folder = own_copy / "checkpoints"
    half = folder / "9.orbax-checkpoint-tmp-1234"
    (half / "params").mkdir(parents=True)
    (half / "params" / "data").write_bytes(b"half")
    checkpoints = Checkpoints(own_copy)
    assert checkpoints.steps() == [7]
    checkpoints.save(*_small(9))
    checkpoints.wait()
    assert checkpoints.steps() == [7, 9]
    assert checkpoints.meta(9).position.step == 9
    checkpoints.close()


def test_a_step_is_saved_once(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(*_small(1))
    state, meta = _small(1)
    checkpoints.save(state._replace(params={"w": jnp.zeros(3)}), meta)
    checkpoints.wait()
    restored = checkpoints.restore_params(1, {"w": jax.ShapeDtypeStruct((3,), jnp.int32)})
    np.testing.assert_array_equal(restored["w"], [1, 1, 1])
    checkpoints.close()
