"""Memory against what jax itself keeps and shards."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.models import cost, tensors
from maxlm.models.cache import empty_cache
from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from maxlm.scaling import memory
from maxlm.scaling.accelerators import find_chip
from maxlm.scaling.suggest import suggest
from maxlm.train.config import OptimizerConfig
from maxlm.train.optimizer import make_optimizer
from maxlm.train.state import abstract_state
from tests import tiny


@pytest.mark.parametrize(
    "axes",
    [{}, {"fsdp": 8}, {"data": 2, "fsdp": 4}, {"tensor": 2, "fsdp": 4}, {"stage": 2, "context": 2, "tensor": 2}],
)
@pytest.mark.parametrize("optimizer", ["adamw", "lion", "sgd"])
def test_parameters_and_moments_are_what_a_device_holds(axes, optimizer):
    model = tiny.model(bias="all", norm="layer", tie_embeddings=False)
    tx = make_optimizer(OptimizerConfig(name=optimizer), lambda _: 1.0)
    state = abstract_state(DecoderFunction(model), tx, tiny.mesh(**axes))

    def held(tree) -> int:
        return sum(
            math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
        )

    found = memory.training(model, axes, batch=8, seq_len=16, optimizer=optimizer)
    assert found.params == held(state.params)
    assert found.optimizer == pytest.approx(held(state.opt_state), abs=64)  # beside it, a few counters


@pytest.mark.parametrize("remat", ["none", "dots", "attention", "full"])
@pytest.mark.parametrize("mlp_kind", ["swiglu", "gelu"])
def test_activations_are_what_jax_keeps(remat, mlp_kind):
    """The residuals of the layers' gradient: what grows with the depth, so without embedding and loss."""
    shape = {"vocab_size": 64, "embed": 128, "num_heads": 4, "num_kv_heads": 2, "head_dim": 32, "mlp": 384}
    tokens = jnp.zeros((2, 256), jnp.int32)

    def kept(layers: int) -> int:
        model = ModelConfig(num_layers=layers, mlp_kind=mlp_kind, remat=remat, dtype="bfloat16", **shape)
        decoder = DecoderFunction(model)
        params = decoder.abstract_params()

        def backward(params):
            return jax.vjp(lambda p: decoder.bind(p)(tokens, tokens, tokens)[0], params)[1]

        saved = jax.tree.leaves(jax.eval_shape(backward, params))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in saved) - 4 * cost.num_params(model)

    model = ModelConfig(num_layers=1, mlp_kind=mlp_kind, remat=remat, dtype="bfloat16", **shape)
    estimated = tokens.size * memory.activation_bytes(model)[0]
    assert kept(4) - kept(3) == pytest.approx(estimated, rel=0.02)


def test_less_is_kept_with_more_devices():
    model = suggest(1e9)
    whole = memory.training(model, {}, batch=64, seq_len=2048)
    split = memory.training(model, {"fsdp": 8}, batch=64, seq_len=2048)
    assert split.activations == pytest.approx(whole.activations / 8)
    assert split.params < whole.params / 7.9
    halved = memory.training(model, {"fsdp": 8}, batch=64, seq_len=2048, accumulate=2)
    assert halved.activations == pytest.approx(split.activations / 2)


def test_a_step_that_was_compiled():
    """1.2B on v5e:4x4, 64 rows of 4096: `maxlm compile` finds 30 % of 16 GiB in use at the peak."""
    model = dataclasses.replace(suggest(1.2e9), remat="full")
    found = memory.training(model, {"fsdp": 16}, batch=64, seq_len=4096)
    assert found.total / 2**30 / 16 == pytest.approx(0.30, abs=0.03)
    assert found.gathered == 2 * (
        model.vocab_size * model.embed + sum(t.size for t in tensors.tensors(model) if t.in_layers)
    )


def test_the_cache_is_what_generation_makes():
    model = tiny.model()
    cache = empty_cache(model, 3, 20)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(cache))
    assert held == 3 * 20 * cost.cache_bytes_per_token(model, 4)


def test_one_card_or_two():
    """40B needs two 80 GB cards as 72B does; 36B fits one."""
    h100, sizes = find_chip("h100"), {}
    for params in (36e9, 40e9, 72e9):
        model = suggest(params)
        found = memory.serving(model, h100, batch=1, context=8192)
        sizes[params] = found.cards, memory.near_miss(model, found)
    assert [cards for cards, _ in sizes.values()] == [1, 2, 2]
    warning = sizes[40e9][1]
    assert warning is not None
    assert "just misses one card: 40B needs 2 cards as 76" in warning
    assert sizes[36e9][1] is None
    assert sizes[72e9][1] is None  # far from a miss


@pytest.mark.parametrize("batch", [1, 64])
def test_serving_counts_weights_and_cache(batch):
    """Llama 3 8B: 8,030,261,248 parameters; 2 · 32 layers · 8 heads · 128 numbers of cache a token."""
    model = ModelConfig(
        vocab_size=128_256, embed=4096, num_layers=32, num_heads=32, num_kv_heads=8, head_dim=128, mlp=14_336,
        tie_embeddings=False,
    )  # fmt: skip
    found = memory.serving(model, find_chip("a100-40"), batch, 8192, weight_bits=8)
    assert found.weights == 8_030_261_248
    assert found.cache == batch * 8192 * 131_072
    assert found.cards == 2 ** max(0, math.ceil(math.log2((found.weights + found.cache) / (40 * 2**30 * 0.9))))
    assert np.isclose(found.share, (found.weights + found.cache) / found.cards / (40 * 2**30 * 0.9))


def test_quantised_weights_count_less():
    model = dataclasses.replace(suggest(7e10))
    h100 = find_chip("h100")
    assert memory.serving(model, h100, 1, 8192, weight_bits=4).cards == 1
    assert memory.serving(model, h100, 1, 8192).cards == 2
