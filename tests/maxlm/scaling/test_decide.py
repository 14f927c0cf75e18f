"""What a sweep of known runs recommends."""

import numpy as np
import pytest

from maxlm.report import sweep
from maxlm.scaling.decide import fit_all, recommend
from maxlm.scaling.laws import LossLaw
from maxlm.scaling.parametric import predict
from tests.maxlm.scaling.made import points

TRUE = np.array([2.0, 30.0, 120.0, 0.3, 0.3])


def runs():
    """Five sizes, four budgets, five learning rates."""
    rng, rows, orders = np.random.default_rng(0), [], []
    for params in np.geomspace(1e5, 3e6, 5):
        for tokens in np.geomspace(1e6, 3e7, 4):
            for factor in (0.25, 0.5, 1, 2, 4):
                best = 0.5 * params**-0.3
                loss = predict(TRUE, params, np.array([tokens]))[0] + 0.05 * np.log(factor) ** 2
                rows.append((params, tokens, best * factor, 0, loss * np.exp(0.001 * rng.standard_normal())))
                orders.append("random")
    columns = dict(zip(("params", "tokens", "learning_rate", "seed", "loss"), np.array(rows).T, strict=True))
    return points({"order": orders}, flops=6 * columns["params"] * columns["tokens"], **columns)


def test_what_can_be_fitted_is_and_the_rest_says_why():
    fits, reasons = fit_all(runs())
    assert set(fits) >= {"loss", "learning_rate"}
    assert fits["loss"]["points"] == 20  # the best learning rate at each size and budget
    assert "share/DOMAIN" in reasons["mixture"]
    assert "one value only" in reasons["curriculum"]
    assert fits["loss"]["constants"]["alpha"] == pytest.approx(0.3, abs=0.1)
    assert fits["learning_rate"]["constants"]["params_exponent"] == pytest.approx(-0.3, abs=0.05)


def test_recommendations():
    made = runs()
    fits, _ = fit_all(made)
    found = dict(recommend(made, fits))
    (ten,) = [what for what in found if "(10 × the largest run)" in what]
    largest = made.number("flops").max()
    law = LossLaw("true", "", E=TRUE[0], A=TRUE[1], B=TRUE[2], alpha=TRUE[3], beta=TRUE[4])
    params = float(ten.split(": ")[1].split(" ")[0])
    assert params == pytest.approx(law.best_params(10 * largest), rel=0.5)
    (nxt,) = [what for what in found if what.startswith("next run")]
    assert float(nxt.split("(")[1].split(" ")[0]) <= largest * 1.05
    (rate,) = [what for what in found if what.startswith("learning_rate at the largest size")]
    assert float(rate.split(": ")[1]) == pytest.approx(0.5 * 3e6**-0.3, rel=0.1)


def test_runs_that_do_not_tell_the_law_recommend_no_sizes():
    """As real runs of too few tokens did: the larger the model the less it had learnt."""
    params, tokens = np.meshgrid([1e5, 2e5, 5e5], [1.3e5, 1.9e5, 2.5e5, 5e5])
    losses = 17.5 * tokens.ravel() ** -0.092 * (1 + 0.01 * np.log(params.ravel() / 2e5))
    made = points(params=params.ravel(), tokens=tokens.ravel(), flops=6 * (params * tokens).ravel(), loss=losses)
    fits, _ = fit_all(made)
    found = recommend(made, fits)
    assert found[0][0].startswith("sizes: no recommendation")
    assert not any(what.startswith("with ") for what, _ in found)


def test_runs_far_from_any_floor_recommend_a_next_run_and_no_sizes():
    """As real runs of 1.5M tokens did: each doubling of the tokens took as much off the loss as the one before."""
    params, tokens = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e5, 2e6, 5), np.geomspace(2e5, 1.6e6, 4)))
    made = points(params=params, tokens=tokens, flops=6 * params * tokens, loss=5 * params**-0.06 + 14 * tokens**-0.12)
    fits, _ = fit_all(made)
    assert fits["loss"]["tells"]
    found = recommend(made, fits)
    assert found[0][0].startswith("sizes: no recommendation")
    assert "E is about 0" in found[0][1]
    assert found[1][0].startswith("next run: ")


def test_the_page():
    made = runs()
    fits, reasons = fit_all(made)
    failed = [{"run": "a", "state": "failed", "note": "out of memory & time"}]
    text = sweep.page([sweep.Part("<mine>", failed, fits=fits, reasons=reasons, recommended=recommend(made, fits))])
    assert "&lt;mine&gt;" in text
    assert "out of memory &amp; time" in text
    assert text.count("<svg") >= 4
    assert "mathdefault" not in text  # ticks of logarithmic axes as plain numbers
    assert "<!-- 1e13 -->" in text
    assert "next run" in text
    assert "<script" not in text
    assert "src=" not in text


def test_a_page_of_two_sweeps():
    """What one of them could fit is not told as missing; losses by data set, over seeds, the best first."""
    made = runs()
    fits, reasons = fit_all(made)
    losses = {"a": (4.0, 4.5), "b": (3.75, 4.25)}
    rows = [
        {"run": f"{data}{seed}", "data": data, "params": 10, "tokens": 20, "model_flops": 1e3, "loss": 5.0,
         "loss/en": en + seed / 100, "loss/zh": zh + seed / 100, "share/en": 0.25, "share/zh": 0.75}
        for data, (en, zh) in losses.items() for seed in (0, 1)
    ]  # fmt: skip
    ran = [{"run": row["run"], "state": "done", "note": ""} for row in rows]
    second = sweep.Part("mixed", ran, rows, reasons={kind: "too few" for kind in (*reasons, *fits)})
    text = sweep.page([sweep.Part("sizes", [], fits=fits, reasons=reasons), second])
    assert "maxlm sweep sizes, mixed" in text
    assert text.count("too few") == len(reasons) > 0
    assert text.index("<td>b</td><td>25%</td><td>75%</td><td>3.755</td><td>4.255</td><td>4.005 (4 to 4.01)</td>") < (
        text.index("<td>a</td><td>25%</td>")
    )
