"""Plans of runs that were really made, as their papers report them; contradictions named."""

import pytest

from maxlm.errors import ConfigError
from maxlm.scaling.laws import law
from maxlm.scaling.plan import Known, solve

LAW = law("chinchilla-corrected")


def test_gpt_3():
    """Brown et al., 2020, table D.1: 174.6B parameters, 300B tokens: 3.14E+23 FLOPs, 3.64E+03 PF-days."""
    plan = solve(Known(params=174.6e9, tokens=300e9), LAW)
    assert plan.flops == pytest.approx(3.1428e23, rel=1e-9)
    assert plan.flops / 8.64e19 == pytest.approx(3637.5, abs=0.05)


def test_llama_3_405b():
    """Grattafiori et al., 2024: 405B parameters on 15.6T tokens, 3.8e25 FLOPs."""
    assert solve(Known(params=405_853_388_800, tokens=15.6e12), LAW).flops == pytest.approx(3.799e25, rel=2e-4)


def test_palm():
    """Chowdhery et al., 2022: 238.3k tokens/s on 6144 TPU v4; their MFU counts attention too, this is 6N."""
    plan = solve(Known(params=540e9, tokens=780e9, chips=6144, chip="v4", tokens_per_s=238.3e3), LAW)
    assert plan.mfu == pytest.approx(0.457, abs=5e-4)


def test_megatron_turing():
    """Smith et al., 2022: 530B, 65.43k tokens/s on 2240 A100; 29.7 % of the peak."""
    plan = solve(Known(params=530e9, tokens=270e9, chips=2240, chip="a100", tokens_per_s=65.43e3), LAW)
    assert plan.mfu == pytest.approx(0.2977, abs=5e-5)


def test_llama_65b():
    """Touvron et al., 2023: 380 tokens/s/GPU on 2048 A100, 1.4T tokens: about 21 days."""
    known = Known(params=65_285_660_672, tokens=1.4e12, chips=2048, chip="a100", tokens_per_s=380 * 2048)
    plan = solve(known, LAW)
    assert plan.days == pytest.approx(20.8, abs=0.05)
    assert plan.mfu == pytest.approx(0.477, abs=5e-4)
    assert plan.chip_hours == pytest.approx(1_022_362, rel=0.5 / 380)  # the paper's table 15


@pytest.mark.parametrize(
    ("params", "hours", "mfu"),
    [(6_738_415_616, 82_432, 0.437), (13_015_864_320, 135_168, 0.514), (32_528_943_616, 530_432, 0.459)],
)
def test_llama_by_gpu_hours(params, hours, mfu):
    """Touvron et al., 2023, table 15: A100 hours; 1T tokens for 7B and 13B, 1.4T for 33B."""
    tokens = 1.4e12 if params > 2e10 else 1e12
    plan = solve(Known(params=params, tokens=tokens, chips=1, chip="a100", days=hours / 24), LAW)
    assert plan.mfu == pytest.approx(mfu, abs=5e-4)
    assert plan.chip_hours == pytest.approx(hours)


FLOPS = 6 * 20e9 * 400e9
DAYS = FLOPS / (512 * 312e12 * 0.4) / 86_400


@pytest.mark.parametrize(
    "known",
    [
        {"params": 20e9, "tokens": 400e9, "chips": 512, "chip": "a100", "mfu": 0.4},
        {"params": 20e9, "tokens": 400e9, "chips": 512, "chip": "a100", "days": DAYS},
        {"params": 20e9, "tokens": 400e9, "chip": "a100", "days": DAYS, "mfu": 0.4},
        {"params": 20e9, "flops": FLOPS, "chips": 512, "chip": "a100"},
        {"tokens": 400e9, "flops": FLOPS, "chips": 512, "chip": "a100", "days": DAYS},
        {"params": 20e9, "chips": 512, "chip": "a100", "days": DAYS, "mfu": 0.4},
        {"tokens": 400e9, "chips": 512, "chip": "a100", "days": DAYS, "mfu": 0.4},
        {"params": 20e9, "loss": float(LAW.loss(20e9, 400e9)), "chips": 512, "chip": "a100", "days": DAYS},
        {"tokens": 400e9, "loss": float(LAW.loss(20e9, 400e9)), "chips": 512, "chip": "a100", "days": DAYS},
        {"params": 20e9, "tokens_per_s": 400e9 / DAYS / 86_400, "days": DAYS, "chips": 512, "chip": "a100"},
    ],
)
def test_every_sufficient_part_gives_the_whole(known):
    plan = solve(Known(**known), LAW)
    assert plan.params == pytest.approx(20e9, rel=1e-6)
    assert plan.tokens == pytest.approx(400e9, rel=1e-6)
    assert plan.flops == pytest.approx(FLOPS, rel=1e-6)
    assert plan.loss == pytest.approx(LAW.loss(20e9, 400e9), rel=1e-6)
    assert plan.chips == 512
    assert plan.days == pytest.approx(DAYS, rel=1e-6)
    assert plan.mfu == pytest.approx(0.4, rel=1e-6)
    assert plan.tokens_per_s == pytest.approx(400e9 / DAYS / 86_400, rel=1e-6)


@pytest.mark.parametrize("known", [{"params": 7e10}, {"tokens": 1.3e12}, {"flops": 5.76e23}, {"loss": 1.98}])
def test_one_figure_is_enough(known):
    plan = solve(Known(**known), LAW)
    assert plan.params == pytest.approx(LAW.best_params(plan.flops), rel=1e-6)
    assert plan.tokens == pytest.approx(LAW.best_tokens(plan.flops), rel=1e-6)


def test_cost():
    plan = solve(Known(flops=989e12 * 0.5 * 3600 * 1000, chip="h100", mfu=0.5, price=2.5), LAW)
    assert plan.chip_hours == pytest.approx(1000)
    assert plan.cost == pytest.approx(2500)


def test_a_configs_own_flops():
    plan = solve(Known(params=1e9, tokens=2e10, chips=8, chip="h100", days=1), LAW, flops_per_token=7.5e9)
    assert plan.flops == pytest.approx(1.5e20)
    assert plan.mfu == pytest.approx(1.5e20 / (8 * 989e12 * 86_400))


def test_repeated_tokens():
    plan = solve(Known(flops=1e22, unique_tokens=25e9), law("data-constrained"))
    assert plan.epochs == pytest.approx(plan.tokens / 25e9)
    assert plan.epochs > 4
    assert "beyond 16" in plan.warnings[0]
    free = solve(Known(flops=1e22), law("data-constrained"))
    assert plan.params < free.params or plan.tokens < free.tokens
    other = solve(Known(params=1e9, tokens=1e11, unique_tokens=25e9), LAW)
    assert "takes repeated tokens for new ones" in other.warnings[0]


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({}, "too little is known"),
        ({"chips": 8, "days": 3}, "too little is known"),
        ({"params": 1e9, "tokens": 1e9, "flops": 1e20}, r"contradiction: params × tokens is 6e\+18.*1e\+20; leave one"),
        ({"params": 1e9, "tokens": 1e10, "chips": 8, "chip": "h100", "days": 1, "mfu": 0.4}, "contradiction"),
        ({"flops": 1e20, "chips": 8, "chip": "h100", "days": 1, "mfu": 0.4}, "contradiction: --flops"),
        ({"params": 1e9, "tokens": 1e12, "chips": 1, "chip": "h100", "days": 1}, "more chips or more days"),
        ({"params": 1e9, "tokens": 2e10, "loss": 2.0}, r"--loss=2.0 contradicts the rest"),
        ({"flops": 1e20, "loss": 2.0}, "at the least"),
        ({"flops": 1e24, "loss": 2.0}, "range of sizes open"),
        ({"tokens": 1e9, "tokens_per_s": 1e6, "days": 5}, "contradiction: --tokens"),
        ({"params": 1e9, "price": 2}, "--price: a cost needs chips"),
        ({"params": -1}, "--params=-1: must be a positive number"),
        ({"params": float("nan")}, "must be a positive number"),
        ({"params": 1e9, "mfu": 40}, "1 at most"),
        ({"params": 1e9, "chip": "h1000"}, "chip 'h1000' is unknown; did you mean 'h100'"),
    ],
)
def test_contradictions_and_gaps(known, words):
    with pytest.raises(ConfigError, match=words):
        solve(Known(**known), LAW)


def test_a_law_that_predicts_no_loss():
    with pytest.raises(ConfigError, match="--law=kaplan predicts no loss"):
        solve(Known(loss=2.0), law("kaplan"))
    assert solve(Known(params=1e9), law("kaplan")).loss is None
