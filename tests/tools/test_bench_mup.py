"""The coordinate check of muP (Yang et al., 2021, arXiv 2011.14522, appendix H), at tiny widths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from maxlm.models.config import ModelConfig
from maxlm.models.decoder import DecoderFunction
from tools.bench_mup import activations, changes_by_width, growth, losses_by_rate

WIDTHS = (32, 128)


def test_activations_move_by_the_same_at_every_width_with_mup_alone():
    mup = changes_by_width(WIDTHS, mup=True, steps=3)
    standard = changes_by_width(WIDTHS, mup=False, steps=3)
    assert set(mup) == {"embedding", "attention 0", "MLP 0", "attention 1", "MLP 1", "logits"}
    for name in mup:
        assert np.isfinite(mup[name]).all()
        if name != "embedding":  # a table has no width to sum over
            assert growth(WIDTHS, mup[name]) < 0.15, name
            assert growth(WIDTHS, standard[name]) > 0.5, name
    # Where they begin alike they are the same.
    np.testing.assert_allclose(mup["logits"][:, 0], standard["logits"][:, 0], rtol=1e-6)


@pytest.mark.parametrize("base", [0, 16])
def test_the_parts_are_those_of_the_decoder(base):
    config = ModelConfig(
        vocab_size=50, embed=32, num_layers=2, num_heads=2, num_kv_heads=1, head_dim=16, mlp=48, mup_base_embed=base
    )
    function = DecoderFunction(config)
    decoder = function.bind(function.init(jax.random.key(0)))
    found = activations(decoder, jax.random.randint(jax.random.key(1), (2, 9), 0, 50))
    logits = found.pop("logits")
    hidden = decoder.norm(sum(found.values(), jnp.zeros(()))) / config.width_multiplier
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
