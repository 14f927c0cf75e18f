"""Small models, meshes and batches, for tests."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from maxlm.blocks.format import Batch, to_batch
from maxlm.models.config import ModelConfig
from maxlm.parallel.mesh import MeshConfig, make_mesh
from tests.synthetic import make_rows

VOCAB, SEQ_LEN, BATCH = 128, 16, 8


def model(**changes: Any) -> ModelConfig:
    """Two layers, grouped heads, sizes that every mesh of eight devices divides."""
    sizes = {
        "vocab_size": VOCAB, "embed": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "mlp": 64,
    }  # fmt: skip
    return ModelConfig(**(sizes | changes))


def mesh(data: int = 1, fsdp: int = 1, tensor: int = 1, context: int = 1, stage: int = 1) -> Mesh:
    """A mesh of the first devices, as many as it takes."""
    sizes = MeshConfig(stage=stage, data=data, fsdp=fsdp, context=context, tensor=tensor)
    return make_mesh(sizes, jax.devices()[: stage * data * fsdp * context * tensor])


def one_device() -> Mesh:
    return mesh()


def batch(seed: int = 0, rows: int = BATCH, seq_len: int = SEQ_LEN, vocab: int = VOCAB) -> Batch:
    """A batch of learnable rows with several documents each."""
    return to_batch(make_rows(np.random.default_rng(seed), rows, seq_len + 1, vocab))


def assert_equal(found: Any, expected: Any) -> None:
    """Two trees of arrays have the same leaves, bit for bit."""
    paths, expected_paths = jax.tree_util.tree_leaves_with_path(found), jax.tree_util.tree_leaves_with_path(expected)
    assert [path for path, _ in paths] == [path for path, _ in expected_paths]
    for (path, a), (_, b) in zip(paths, expected_paths, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b), err_msg=jax.tree_util.keystr(path))
