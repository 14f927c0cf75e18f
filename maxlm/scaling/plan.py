"""From what is known of a run, any sufficient part of it, all the rest.

Three relations hold: C = 6ND (or a config's own FLOPs per token), C = chips · peak · MFU · time, and the law. Where
one of N, D, C or the loss is given, the law chooses the best of what is left open; where two are, nothing is left.
"""

import dataclasses
import math
from dataclasses import dataclass, field

from maxlm.errors import ConfigError
from maxlm.scaling.accelerators import find_chip
from maxlm.scaling.laws import (
    Law,
    LossLaw,
    compute_for_loss,
    compute_for_params,
    compute_for_tokens,
    params_for_loss,
    tokens_for_loss,
)

USUAL_MFU = 0.4
_DAY_S = 86_400
_SLACK = 0.02  # relative; figures as people type them are rounded


@dataclass(frozen=True)
class Known:
    """What a person says of a run; None: to be found."""

    params: float | None = None  # N
    tokens: float | None = None  # D, repetitions counted
    flops: float | None = None  # C, of the model: rematerialisation not counted
    loss: float | None = None  # nats per token
    chips: float | None = None
    chip: str | None = None  # a name in maxlm/scaling/accelerators.py
    days: float | None = None
    mfu: float | None = None  # model FLOPs utilisation
    tokens_per_s: float | None = None  # of all chips together
    unique_tokens: float | None = None  # there are; more are repetitions
    price: float | None = None  # of a chip for an hour, in any currency

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, float | int) and not 0 < value < float("inf"):
                raise ConfigError(f"--{name.replace('_', '-')}={value}: must be a positive number")
        if self.mfu is not None and self.mfu > 1:
            raise ConfigError(f"--mfu={self.mfu}: a share of the peak, 1 at most")
        if self.chip is not None:
            find_chip(self.chip)


@dataclass
class Plan:
    """A run, as far as it can be told; None where nothing says."""

    law: Law
    params: float = 0.0
    tokens: float = 0.0
    flops: float = 0.0
    loss: float | None = None
    interval: tuple[float, float] | None = None  # of the loss, 95 %: what the law's constants leave open
    epochs: float | None = None
    chips: float | None = None
    chip: str | None = None
    days: float | None = None
    mfu: float | None = None
    tokens_per_s: float | None = None
    chip_hours: float | None = None
    cost: float | None = None
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def solve(known: Known, law: Law, flops_per_token: float | None = None) -> Plan:
    """All that follows from what is known.

    Args:
      flops_per_token: of a config's model; known.params are then its parameters. None: the law's 6 per parameter.

    Raises:
      ConfigError: too little is known, or parts of it contradict each other.
    """
    plan = Plan(law)
    if isinstance(law, LossLaw) and known.unique_tokens:
        law = plan.law = dataclasses.replace(law, unique=known.unique_tokens)
    known = _with_rates(known)
    budget = _budget(known, plan)
    per_param = law.flops_per if flops_per_token is None else flops_per_token / _given(known.params, "params")
    if per_param != law.flops_per:
        plan.assumptions.append(f"C = {per_param:.3f} · N · D: the FLOPs per token of this config, attention included")
    else:
        plan.assumptions.append(f"C = {per_param:.4g} · N · D")
    if known.flops is not None and budget is not None:
        _agree("--flops", known.flops, "chips × days × MFU", budget)
    flops = known.flops if known.flops is not None else budget
    _size(plan, known, law, flops, per_param)
    _predict(plan, known, law)
    _machine(plan, known)
    return plan


def _with_rates(known: Known) -> Known:
    """Tokens from a rate and a time."""
    if known.tokens_per_s is None or known.days is None:
        return known
    tokens = known.tokens_per_s * known.days * _DAY_S
    if known.tokens is not None:
        _agree("--tokens", known.tokens, "tokens-per-s × days", tokens)
        return known
    return dataclasses.replace(known, tokens=tokens)


def _budget(known: Known, plan: Plan) -> float | None:
    """C, where the machine and its time are given and tokens per second don't say it already."""
    if known.chips is None or known.chip is None or known.days is None or known.tokens_per_s is not None:
        return None
    if known.mfu is None:
        if sum(value is not None for value in (known.params, known.tokens, known.flops)) >= 2 or known.flops:
            return None  # they say what utilisation it takes
        plan.assumptions.append(f"MFU {USUAL_MFU:.0%}, usual for large dense models; --mfu says another")
    return known.chips * find_chip(known.chip).peak_flops * (known.mfu or USUAL_MFU) * known.days * _DAY_S


def _size(plan: Plan, known: Known, law: Law, flops: float | None, per_param: float) -> None:
    """N, D and C."""
    params, tokens = known.params, known.tokens
    if params is not None and tokens is not None:
        needed = per_param * params * tokens
        if flops is not None:
            _agree("params × tokens", needed, "the compute given", flops)
        flops = needed
    elif flops is not None and params is not None:
        tokens = flops / (per_param * params)
    elif flops is not None and tokens is not None:
        params = flops / (per_param * tokens)
    elif known.loss is not None:
        params, tokens, flops = _from_loss(known, law, flops, per_param)
    else:
        plan.assumptions.append(f"best by {law.name}: {law.source}")
        if flops is not None:
            params = law.best_params(flops)
            tokens = law.best_tokens(flops)
        elif params is not None:
            tokens = law.best_tokens(compute_for_params(law, params))
            flops = per_param * params * tokens
        elif tokens is not None:
            flops = compute_for_tokens(law, tokens)
            params = law.best_params(flops)
        else:
            raise ConfigError(
                "too little is known: give one of --params, --tokens, --flops, --loss, --config, or --chips with "
                "--chip and --days"
            )
    plan.params, plan.tokens, plan.flops = _given(params, "params"), _given(tokens, "tokens"), _given(flops, "flops")


def _from_loss(known: Known, law: Law, flops: float | None, per_param: float) -> tuple[float, float, float]:
    if not isinstance(law, LossLaw):
        raise ConfigError(f"--law={law.name} predicts no loss; --loss needs a law of the form E + A/N^α + B/D^β")
    loss = _given(known.loss, "loss")
    if flops is not None:
        least = compute_for_loss(law, loss)
        if flops < least * (1 - _SLACK):
            raise ConfigError(
                f"--loss={loss} takes {least:.3g} FLOPs at the least by {law.name}, and {flops:.3g} are given: leave "
                "one out"
            )
        raise ConfigError(
            f"--loss={loss} together with compute leaves a range of sizes open; give --params or --tokens too, or "
            "leave one of the two out"
        )
    if known.params is not None:
        params, tokens = known.params, tokens_for_loss(law, known.params, loss)
    elif known.tokens is not None:
        params, tokens = params_for_loss(law, known.tokens, loss), known.tokens
    else:
        params = law.best_params(compute_for_loss(law, loss))
        tokens = law.best_tokens(compute_for_loss(law, loss))
    return params, tokens, per_param * params * tokens


def _predict(plan: Plan, known: Known, law: Law) -> None:
    if isinstance(law, LossLaw):
        plan.loss, plan.interval = float(law.loss(plan.params, plan.tokens)), law.interval(plan.params, plan.tokens)
        if known.loss is not None and abs(known.loss / plan.loss - 1) > _SLACK / 4:
            raise ConfigError(
                f"--loss={known.loss} contradicts the rest: {plan.params:.4g} parameters after {plan.tokens:.4g} "
                f"tokens reach {plan.loss:.4g} by {law.name}; leave one out"
            )
        plan.assumptions.append(f"loss in nats per token on the law's own data and tokenizer ({law.name})")
    if known.unique_tokens is not None:
        plan.epochs = max(plan.tokens / known.unique_tokens, 1.0)
        if plan.epochs > 1 and not (isinstance(law, LossLaw) and law.repeats_worth):
            plan.warnings.append(
                f"{plan.epochs:.1f} epochs over {known.unique_tokens:.3g} tokens: {law.name} takes repeated tokens for "
                "new ones; --law=data-constrained does not"
            )
        elif plan.epochs > 4:
            plan.warnings.append(
                f"{plan.epochs:.1f} epochs: up to 4 repeated tokens are worth nearly as much as new ones, beyond 16 "
                "hardly anything (Muennighoff et al., 2023)"
            )


def _machine(plan: Plan, known: Known) -> None:
    """Time, chips, utilisation and cost, as far as they follow."""
    plan.chips, plan.chip, plan.days, plan.mfu = known.chips, known.chip, known.days, known.mfu
    plan.tokens_per_s = known.tokens_per_s
    if plan.tokens_per_s is not None and plan.days is None:
        plan.days = plan.tokens / plan.tokens_per_s / _DAY_S
    peak = find_chip(known.chip).peak_flops if known.chip is not None else None
    if peak is not None:
        _fill_in(plan, peak)
    if plan.days is not None and plan.tokens_per_s is None:
        plan.tokens_per_s = plan.tokens / plan.days / _DAY_S
    if plan.chips is not None and plan.days is not None:
        plan.chip_hours = plan.chips * plan.days * 24
    elif peak is not None:
        plan.mfu = plan.mfu or USUAL_MFU
        plan.chip_hours = plan.flops / (peak * plan.mfu) / 3600
        plan.assumptions.append(f"MFU {plan.mfu:.0%}")
    if known.price is not None:
        if plan.chip_hours is None:
            raise ConfigError("--price: a cost needs chips and a time; give --chip, and --chips or --days")
        plan.cost = plan.chip_hours * known.price


def _fill_in(plan: Plan, peak: float) -> None:
    """The one of chips, days and MFU that the other two and C say."""
    if plan.chips is not None and plan.days is not None:
        used = plan.flops / (plan.chips * peak * plan.days * _DAY_S)
        if plan.mfu is not None:
            _agree("--mfu", plan.mfu, "what this run takes", used)
        plan.mfu = plan.mfu or used
        if used > 1:
            raise ConfigError(
                f"{plan.flops:.3g} FLOPs in {plan.days:.4g} days would take {used:.0%} of the peak of {plan.chips:g} × "
                f"{plan.chip}: more chips or more days"
            )
    elif plan.chips is not None or plan.days is not None:
        if plan.mfu is None:
            plan.mfu = USUAL_MFU
            plan.assumptions.append(f"MFU {USUAL_MFU:.0%}, usual for large dense models; --mfu says another")
        amount = plan.flops / (peak * plan.mfu) / _DAY_S  # chips × days
        if plan.chips is not None:
            plan.days = amount / plan.chips
        else:
            plan.chips = math.ceil(amount / _given(plan.days, "days") * (1 - 1e-9))


def _agree(name: str, value: float, other: str, found: float) -> None:
    if abs(value / found - 1) > _SLACK:
        raise ConfigError(f"contradiction: {name} is {value:.4g}, and {other} is {found:.4g}; leave one out")


def _given(value: float | None, name: str) -> float:
    if value is None:
        raise ConfigError(f"--{name} is needed for this")
    return value
