"""Parameters one by one against the decoder's arrays; FLOPs against published figures."""

import dataclasses
from pathlib import Path

import jax
import pytest

from maxlm.config import load
from maxlm.models.cost import matmul_params, num_params, recomputed_flops_per_token, train_flops_per_token
from maxlm.models.decoder import DecoderFunction
from maxlm.models.tensors import copies, flops_by_matrix, tensors
from maxlm.train.config import Config

CONFIGS = Path(__file__).parents[3] / "configs"


def test_nanogpts_figures():
    """nanoGPT's transformer_sizing.ipynb: GPT-2 without biases, 1024 tokens; and the PaLM formula that it compares."""
    config, T = load(str(CONFIGS / "gpt2_124m.py"), [], Config).model, 1024
    found = flops_by_matrix(config, T, square=True)
    assert T * found.forward == 291_648_307_200
    assert T * found.model == 874_944_921_600
    plain = dataclasses.replace(config, bias="none", norm="rms")  # norms with a scale only, as without biases there
    assert num_params(plain) == 124_337_664
    counted = num_params(plain) - T * config.embed  # without the positions
    assert T * (6 * counted + 3 * found.attention) == 875_062_886_400
    halved = flops_by_matrix(config, T)  # what causal attention computes, as MaxText counts it
    assert T * (6 * counted + 3 * halved.attention) == 817_080_827_904


@pytest.mark.parametrize("name", ["gpt2_124m", "qwen2_5_7b", "qwen3_8b", "llama3_2_1b"])
def test_tensors_are_those_of_the_decoder(name):
    """Shapes and logical axes, one by one."""
    config = load(str(CONFIGS / f"{name}.py"), [], Config).model
    decoder = DecoderFunction(config)
    shapes = {leaf.shape for leaf in jax.tree.leaves(decoder.abstract_params())}
    axes = set(jax.tree.leaves(decoder.param_axes(), is_leaf=lambda leaf: isinstance(leaf, tuple)))
    found = [
        (("layers",) * t.in_layers + t.axes, (copies(t, config),) * t.in_layers + t.shape) for t in tensors(config)
    ]
    assert {shape for _, shape in found} == shapes
    assert {names for names, _ in found} == axes
    assert len(found) == len(jax.tree.leaves(decoder.abstract_params()))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*_*b.py")), ids=lambda path: path.stem)
def test_the_sums_are_the_totals(path):
    config = load(str(path), [], Config).model
    found = tensors(config)
    assert sum(t.size * copies(t, config) for t in found) == num_params(config)
    assert sum(t.size * copies(t, config) for t in found if t.multiplied) == matmul_params(config)
    assert flops_by_matrix(config, 4096).model == pytest.approx(train_flops_per_token(config, 4096), rel=1e-12)


@pytest.mark.parametrize("remat", ["none", "dots", "attention", "full", "offload"])
def test_what_is_made_anew(remat):
    config = dataclasses.replace(load(str(CONFIGS / "llama3_8b.py"), [], Config).model, remat=remat)
    found = flops_by_matrix(config, 4096)
    assert found.model == flops_by_matrix(dataclasses.replace(config, remat="none"), 4096).hardware
    assert found.recomputed == pytest.approx(recomputed_flops_per_token(config, 4096))
