"""Laws against the figures that their papers, or reruns of their code, give; each test names its source."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize

from maxlm.errors import ConfigError
from maxlm.scaling.laws import (
    LAWS,
    LossLaw,
    compute_for_loss,
    compute_for_params,
    compute_for_tokens,
    law,
    params_for_loss,
    tokens_for_loss,
)

# Hoffmann et al., 2022 (arXiv 2203.15556), table 3: parameters, FLOPs, tokens by approach 1, as rounded there.
TABLE_3 = [
    (400e6, 1.92e19, 8.0e9), (1e9, 1.21e20, 20.2e9), (10e9, 1.23e22, 205.1e9), (67e9, 5.76e23, 1.5e12),
    (175e9, 3.85e24, 3.7e12), (280e9, 9.90e24, 5.9e12), (1e12, 1.27e26, 21.2e12), (10e12, 1.30e28, 216.2e12),
]  # fmt: skip


@pytest.mark.parametrize(("params", "flops", "tokens"), TABLE_3)
def test_chinchilla_approach_1(params, flops, tokens):
    found = LAWS["chinchilla-1"]
    assert compute_for_params(found, params) == pytest.approx(flops, rel=1e-9)
    assert found.best_tokens(flops) == pytest.approx(tokens, rel=0.05)  # 6ND misses C by up to 4.7 % in the table


def test_chinchilla_approach_2():
    """The least-squares line through the paper's table of tokens, as nanoGPT's scaling_laws.ipynb lists and fits it."""
    table = [(400e6, 7.7e9), (1e9, 20.0e9), (10e9, 219.5e9), (67e9, 1.7e12), (175e9, 4.3e12), (280e9, 7.1e12),
             (520e9, 13.4e12), (1e12, 26.5e12), (10e12, 292e12)]  # fmt: skip
    slope, intercept = np.polyfit(*np.log10(table).T, 1)
    assert (slope, intercept) == pytest.approx((1.0409573, 0.9353887), abs=1e-6)
    found = LAWS["chinchilla-2"]
    for params, _ in table:
        line = 10**intercept * params**slope
        assert found.best_tokens(compute_for_params(found, params)) == pytest.approx(line, rel=1e-5)


def test_chinchilla_approach_2_for_gpt_2():
    """nanoGPT's scaling_laws.ipynb: 2.292426e9 tokens for 124 million parameters."""
    found = LAWS["chinchilla-2"]
    assert found.best_tokens(compute_for_params(found, 124e6)) == pytest.approx(2.292426e9, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "tokens", "loss"),
    [
        ("chinchilla-3-rounded", 3.219e10, 2.9823e12, 1.93075),  # Hoffmann et al., equation 10
        ("chinchilla-3", 4.0361e10, 2.3785e12, 1.91841),  # constants of the paper's TeX source
        ("chinchilla-corrected", 7.2249e10, 1.3287e12, 1.97444),  # Besiroglu et al., 2024 (arXiv 2404.10102)
    ],
)
def test_chinchilla_approach_3_at_gophers_compute(name, params, tokens, loss):
    found, flops = law(name), 5.76e23
    assert isinstance(found, LossLaw)
    assert found.best_params(flops) == pytest.approx(params, rel=5e-5)
    assert found.best_tokens(flops) == pytest.approx(tokens, rel=5e-5)
    assert found.loss(found.best_params(flops), found.best_tokens(flops)) == pytest.approx(loss, abs=5e-6)


@pytest.mark.parametrize(
    ("params", "tokens", "loss"),
    [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)],
)
def test_data_constrained_loss(params, tokens, loss):
    """huggingface/datablations, README: two losses printed by its code for 25B unique tokens."""
    found = dataclasses.replace(law("data-constrained"), unique=25e9)
    assert found.loss(params, tokens) == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize(("epochs", "worth"), [(4, 3.7257), (16, 10.5825), (40, 15.1675)])
def test_worth_of_repeated_tokens(epochs, worth):
    """Muennighoff et al., 2023 (arXiv 2305.16264), equation 5 with the constants of its appendix A."""
    found = dataclasses.replace(law("data-constrained"), unique=1e9)
    assert found.effective(1e6, epochs * 1e9)[1] / 1e9 == pytest.approx(worth, abs=5e-5)


def test_llama_3():
    """Grattafiori et al., 2024, section 3.2.1: 3.8e25 FLOPs call for 402B parameters and 16.55T tokens."""
    found = law("llama3")
    assert found.best_params(3.8e25) == pytest.approx(402e9, rel=1e-9)
    assert found.best_tokens(3.8e25) == pytest.approx(16.55e12, rel=1e-9)
    assert found.best_tokens(1.0) == pytest.approx(0.29)  # its coefficient; the exponent is 0.53 when rounded
    assert math.log10(found.best_tokens(1e25) / found.best_tokens(1e24)) == pytest.approx(0.53, abs=0.01)


def test_deepseek():
    """DeepSeek-AI, 2024, section 3.2: tokens are 5.8316 · C^0.4757 as well, the product of both being C."""
    for flops in (1e18, 1e20, 1e24):
        assert law("deepseek").best_tokens(flops) == pytest.approx(5.8316 * flops**0.4757, rel=2e-4)


@pytest.mark.parametrize("name", [name for name, found in LAWS.items() if isinstance(found, LossLaw)])
@pytest.mark.parametrize("unique", [0.0, 25e9])
def test_the_best_is_the_best(name, unique):
    """Against SciPy's minimiser over all ways to spend the same compute."""
    found, flops = dataclasses.replace(law(name), unique=unique), 1e22
    if unique and not found.repeats_worth:
        assert found.best_tokens(flops) == pytest.approx(unique)  # no more than there are
        return
    least = optimize.minimize_scalar(
        lambda n: float(found.loss(np.exp(n), flops / 6 / np.exp(n))),
        bounds=(np.log(1e8), np.log(1e12)), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    best = found.loss(found.best_params(flops), found.best_tokens(flops))
    assert best <= least.fun + 1e-12
    assert found.best_params(flops) == pytest.approx(np.exp(least.x), rel=1e-3)


@pytest.mark.parametrize("name", LAWS)
def test_there_and_back(name):
    found = law(name)
    for flops in (1e19, 3e22, 1e26):
        params, tokens = found.best_params(flops), found.best_tokens(flops)
        assert found.flops_per * params * tokens == pytest.approx(flops)
        assert compute_for_params(found, params) == pytest.approx(flops, rel=1e-9)
        assert compute_for_tokens(found, tokens) == pytest.approx(flops, rel=1e-9)
        if isinstance(found, LossLaw):
            loss = float(found.loss(params, tokens))
            assert compute_for_loss(found, loss) == pytest.approx(flops, rel=1e-8)
            assert tokens_for_loss(found, params, loss) == pytest.approx(tokens, rel=1e-8)
            assert params_for_loss(found, tokens, loss) == pytest.approx(params, rel=1e-8)


def test_out_of_reach():
    found = law("chinchilla-corrected")
    with pytest.raises(ConfigError, match=r"at no size; its floor is 1\.817"):
        compute_for_loss(found, 1.8)
    with pytest.raises(ConfigError, match=r"never reach it .* their limit is 2\.1.* more parameters"):
        tokens_for_loss(found, 1e9, 2.0)
    with pytest.raises(ConfigError, match=r"too few for it .* more tokens"):
        params_for_loss(found, 1e9, 2.0)
    with pytest.raises(ConfigError, match="did you mean 'chinchilla-1'"):
        law("chincilla-1")
