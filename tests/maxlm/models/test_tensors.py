"""Parameters one by one against the decoder's arrays."""

from pathlib import Path

import jax
import pytest

from maxlm.config import load
from maxlm.models.decoder import DecoderFunction
from maxlm.models.tensors import copies, tensors
from maxlm.train.config import Config

CONFIGS = Path(__file__).parents[3] / "configs"


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
