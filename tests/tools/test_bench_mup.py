"""The coordinate check of muP (Yang et al., 2021, arXiv 2011.14522, appendix H), at tiny widths."""

import jax
import numpy as np
import pytest

from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from tools.bench_mup import activations, changes, growth, losses_by_rate, model

PARTS = {"embedding", "attention 0", "MLP 0", "attention 1", "MLP 1", "stream", "logits"}


def test_activations_move_by_the_same_at_every_width():
    widths = (32, 128)
    mup, standard = (changes([model(w, transfer=one) for w in widths], steps=3) for one in (True, False))
    assert set(mup) == PARTS
    for name in PARTS - {"embedding"}:  # a table has no width to sum over
        assert growth(widths, mup[name]) < 0.15, name
        assert growth(widths, standard[name]) > 0.5, name
    # Where they begin alike they are the same.
    np.testing.assert_allclose(mup["logits"][:, 0], standard["logits"][:, 0], rtol=1e-6)


def test_activations_move_by_the_same_at_every_depth():
    depths = (2, 8)
    complete, standard = (changes([model(layers=n, transfer=one) for n in depths], steps=3) for one in (True, False))
    assert growth(depths, complete["stream"]) < 0.15
    assert growth(depths, standard["stream"]) > 0.3


@pytest.mark.parametrize(("base", "layers"), [(0, 0), (16, 1)])
def test_the_parts_are_those_of_the_decoder(base, layers):
    config = ModelConfig(
        vocab_size=50, embed=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, mlp=48,
        mup_base_embed=base, mup_base_layers=layers,
    )  # fmt: skip
    function = DecoderFunction(config)
    decoder = function.bind(function.init(jax.random.key(0)))
    found = activations(decoder, jax.random.randint(jax.random.key(1), (2, 9), 0, 50))
    logits, stream = found["logits"], found["stream"]
    hidden = decoder.norm(stream) / config.width_multiplier
    np.testing.assert_allclose(logits, decoder.logits(hidden), rtol=1e-5, atol=1e-6)


def test_losses_of_the_sweep(tmp_path):
    rows = [("mup-32", 1e-3, 4.0), ("mup-96", 2e-3, 3.5), ("standard-96", 2e-3, 3.75), ("mup-32", 5e-4, 4.25)]
    lines = [f'{{"size": "{size}", "learning_rate": {rate}, "loss": {loss}}}\n' for size, rate, loss in rows]
    (tmp_path / "results.jsonl").write_text("".join(lines))
    assert losses_by_rate(tmp_path / "results.jsonl") == {
        ("mup", 32): {5e-4: 4.25, 1e-3: 4.0},
        ("mup", 96): {2e-3: 3.5},
        ("standard", 32): {5e-4: 4.25, 1e-3: 4.0},
        ("standard", 96): {2e-3: 3.75},
    }
