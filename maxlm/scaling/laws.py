"""How a compute budget is best split between parameters and tokens, and the loss that comes of it: published laws.

N counts parameters, D tokens, C FLOPs. Papers count N differently (with or without the embedding): `counts` says how.
A law that `maxlm fit` wrote is a file; maxlm/scaling/law_file.py reads it.
"""

import abc
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maxlm.errors import ConfigError, did_you_mean

# Between a model of one parameter and anything that is ever built.
_LOWEST, _HIGHEST = math.log(1e6), math.log(1e34)
_LARGEST_MODEL = math.log(1e16)


@dataclass(frozen=True)
class Law(abc.ABC):
    """What all laws have: a name, where it stands, and how many FLOPs it counts for a parameter and token."""

    name: str
    source: str
    counts: str = "all parameters"
    flops_per: float = 6.0  # C = flops_per · N · D

    @abc.abstractmethod
    def best_params(self, flops: float) -> float:
        """The N that makes the best of C FLOPs."""

    def best_tokens(self, flops: float) -> float:
        return flops / (self.flops_per * self.best_params(flops))


@dataclass(frozen=True)
class LossLaw(Law):
    """L(N, D) = E + A/N^α + B/D^β, in nats per token (Hoffmann et al., 2022, equation 2).

    With `unique`, tokens beyond it are repetitions, worth less each time, and parameters beyond those that the unique
    tokens call for are worth less as well (Muennighoff et al., 2023, section 3.1).
    """

    E: float = 0.0
    A: float = 0.0
    B: float = 0.0
    alpha: float = 0.0
    beta: float = 0.0
    repeats_worth: float = 0.0  # R*_D: repetitions that are worth something; 0: repeating was not studied
    excess_worth: float = 0.0  # R*_N
    unique: float = 0.0  # tokens there are; 0: as many as wanted
    draws: tuple[tuple[float, ...], ...] = ()  # (E, A, B, α, β) of refits to resampled points: what is not known

    def loss(self, params: Any, tokens: Any) -> Any:
        """The loss of a model of N parameters after D tokens; arrays go through element by element."""
        params, tokens = self.effective(params, tokens)
        return self.E + self.A / params**self.alpha + self.B / tokens**self.beta

    def effective(self, params: Any, tokens: Any) -> tuple[Any, Any]:
        """Parameters and unique tokens that would do as well as these."""
        params, tokens = np.asarray(params, float), np.asarray(tokens, float)
        if not self.unique or not self.repeats_worth:
            return params, tokens
        unique = np.minimum(tokens, self.unique)
        called_for = np.minimum(params, self._params_for(unique))
        return (
            _saturating(params, called_for, self.excess_worth),
            _saturating(tokens, unique, self.repeats_worth),
        )

    def interval(self, params: float, tokens: float, level: float = 0.95) -> tuple[float, float] | None:
        """Where the law's own refits put the loss, in `level` of the cases; None for a law without any."""
        if not self.draws:
            return None
        losses = [dataclasses.replace(self, **_constants(draw)).loss(params, tokens) for draw in self.draws]
        low, high = np.quantile(losses, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def best_params(self, flops: float) -> float:
        """In closed form where no token is repeated; else found by golden section."""
        free = self._balance() * (flops / self.flops_per) ** (self.beta / (self.alpha + self.beta))
        if not self.unique or flops / (self.flops_per * free) <= self.unique:
            return free
        if not self.repeats_worth:  # nothing says what a repetition is worth: more parameters instead
            return flops / (self.flops_per * self.unique)
        return math.exp(_smallest(lambda n: self._loss_at(n, flops), math.log(free) - 7, math.log(free) + 7))

    def _loss_at(self, log_params: float, flops: float) -> float:
        params = math.exp(log_params)
        return float(self.loss(params, flops / (self.flops_per * params)))

    def _balance(self) -> float:
        """G of Hoffmann et al., equation 4."""
        return (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))

    def _params_for(self, tokens: Any) -> Any:
        """The N that D unique tokens call for, by equation 4 with C taken out of it."""
        return (tokens * self._balance()) ** (self.beta / self.alpha) * self._balance()


@dataclass(frozen=True)
class PowerLaw(Law):
    """N = coefficient · C^exponent."""

    coefficient: float = 0.0
    exponent: float = 0.0

    def best_params(self, flops: float) -> float:
        return self.coefficient * flops**self.exponent


@dataclass(frozen=True)
class TableLaw(Law):
    """N and C as a paper's table lists them, straight lines between and beyond on logarithmic axes."""

    points: tuple[tuple[float, float], ...] = ()  # (N, C), rising

    def best_params(self, flops: float) -> float:
        params, budgets = np.log(np.array(self.points)).T
        x = math.log(flops)
        i = int(np.clip(np.searchsorted(budgets, x), 1, len(budgets) - 1))
        slope = (params[i] - params[i - 1]) / (budgets[i] - budgets[i - 1])
        return math.exp(params[i - 1] + slope * (x - budgets[i - 1]))


def _saturating(whole: Any, first: Any, worth: float) -> Any:
    """`first`, and what comes on top of it, each repetition worth less (Muennighoff et al., equations 5 and 6)."""
    return first + first * worth * (1 - np.exp(-(whole / first - 1) / worth))


def _constants(draw: Sequence[float]) -> dict[str, float]:
    return dict(zip(("E", "A", "B", "alpha", "beta"), draw, strict=True))


def _draws(file: str) -> tuple[tuple[float, ...], ...]:
    """Refits that stand beside this file, for the interval of a law that was published without them."""
    values = json.loads((Path(__file__).parent / file).read_text())
    return tuple(tuple(draw) for draw in values["draws"])


def _from_tokens_power(coefficient: float, exponent: float, **named: Any) -> PowerLaw:
    """The law D = coefficient · N^exponent, with C = 6ND solved for N."""
    power = 1 / (1 + exponent)
    return PowerLaw(coefficient=(6 * coefficient) ** -power, exponent=power, **named)


_HOFFMANN = "Hoffmann et al., 2022 (arXiv 2203.15556)"
_CORRECTED = "Besiroglu et al., 2024 (arXiv 2404.10102): refit of approach 3, with its errors mended"
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        LossLaw(
            "chinchilla-corrected", _CORRECTED, E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658,
            draws=_draws("chinchilla_corrected.json"),
        ),
        TableLaw(
            "chinchilla-1", f"{_HOFFMANN}, approach 1, table 3",
            points=(
                (400e6, 1.92e19), (1e9, 1.21e20), (10e9, 1.23e22), (67e9, 5.76e23), (175e9, 3.85e24), (280e9, 9.90e24),
                (520e9, 3.43e25), (1e12, 1.27e26), (10e12, 1.30e28),
            ),
        ),
        _from_tokens_power(
            10**0.9353887, 1.0409573, name="chinchilla-2",
            source=f"{_HOFFMANN}, approach 2: a line through the logarithms of its table of tokens",
        ),
        LossLaw(
            "chinchilla-3", f"{_HOFFMANN}, approach 3, constants of the paper's source, not rounded",
            E=math.exp(0.5267228), A=math.exp(6.0073404), B=math.exp(6.0179186), alpha=0.33917084, beta=0.2849083,
        ),
        LossLaw(
            "chinchilla-3-rounded", f"{_HOFFMANN}, approach 3, equation 10", E=1.69, A=406.4, B=410.7, alpha=0.34,
            beta=0.28,
        ),
        PowerLaw(
            "kaplan", "Kaplan et al., 2020 (arXiv 2001.08361), section 6: 1.3e9 · (C in PF-days)^0.73",
            counts="parameters without embeddings", coefficient=1.3e9 * 8.64e19**-0.73, exponent=0.73,
        ),
        # Tokens are 0.29 · C^0.53 in the paper, whose own figures (3.8e25 FLOPs, 402B parameters, 16.55T tokens) follow
        # only from less rounded constants; these go through them.
        PowerLaw(
            "llama3", "Grattafiori et al., 2024 (arXiv 2407.21783), section 3.2.1: tokens 0.29 · C^0.538",
            flops_per=3.8e25 / (402e9 * 16.55e12), coefficient=402e9 * 16.55e12 / 3.8e25 / 0.29,
            exponent=1 - math.log(16.55e12 / 0.29) / math.log(3.8e25),
        ),
        # In FLOPs per token M = 0.1715 · C^0.5243, attention included; 6 of them are taken for a parameter.
        PowerLaw(
            "deepseek", "DeepSeek-AI, 2024 (arXiv 2401.02954), section 3.2",
            counts="FLOPs per token / 6, no embeddings",
            coefficient=0.1715 / 6, exponent=0.5243,
        ),
        LossLaw(
            "data-constrained", "Muennighoff et al., 2023 (arXiv 2305.16264), appendix A",
            E=math.exp(0.6254804), A=math.exp(6.255414), B=math.exp(7.3049974), alpha=0.3526596, beta=0.3526596,
            repeats_worth=15.387756, excess_worth=5.309743,
        ),
    )
}  # fmt: skip
DEFAULT = "chinchilla-corrected"


def law(name: str) -> Law:
    """A law by its name.

    Raises:
      ConfigError: no such law.
    """
    if name not in LAWS:
        raise ConfigError(f"--law={name}: no such law{did_you_mean(name, LAWS)}")
    return LAWS[name]


def compute_for_params(law: Law, params: float) -> float:
    """The C for which N is best."""
    return math.exp(_root(lambda c: math.log(law.best_params(math.exp(c)) / params), _LOWEST, _HIGHEST))


def compute_for_tokens(law: Law, tokens: float) -> float:
    """The C for which D is best."""
    return math.exp(_root(lambda c: math.log(law.best_tokens(math.exp(c)) / tokens), _LOWEST, _HIGHEST))


def compute_for_loss(law: LossLaw, loss: float) -> float:
    """The least C that reaches a loss.

    Raises:
      ConfigError: no amount of compute does, by this law.
    """

    def short_of(log_flops: float) -> float:
        params = law.best_params(math.exp(log_flops))
        return loss - law._loss_at(math.log(params), math.exp(log_flops))

    if short_of(_HIGHEST) < 0:
        raise ConfigError(f"loss {loss}: {law.name} reaches it at no size; its floor is {law.E:.4g} nats per token")
    return math.exp(_root(short_of, _LOWEST, _HIGHEST))


def tokens_for_loss(law: LossLaw, params: float, loss: float) -> float:
    """The D after which N parameters reach a loss.

    Raises:
      ConfigError: they never do.
    """
    limit = float(law.loss(params, 1e30))
    if limit >= loss:
        raise ConfigError(
            f"loss {loss}: {params:.4g} parameters never reach it by {law.name}, whatever the tokens; their limit is "
            f"{limit:.4g}. Take more parameters"
        )
    return math.exp(_root(lambda d: loss - float(law.loss(params, math.exp(d))), _LOWEST - 14, math.log(1e30)))


def params_for_loss(law: LossLaw, tokens: float, loss: float) -> float:
    """The N that reaches a loss with D tokens.

    Raises:
      ConfigError: none does.
    """
    limit = float(law.loss(math.exp(_LARGEST_MODEL), tokens))
    if limit >= loss:
        raise ConfigError(
            f"loss {loss}: {tokens:.4g} tokens are too few for it by {law.name}, whatever the size; the limit is "
            f"{limit:.4g}. Take more tokens"
        )
    return math.exp(_root(lambda n: loss - float(law.loss(math.exp(n), tokens)), 0.0, _LARGEST_MODEL))


def _root(rising: Any, low: float, high: float) -> float:
    """Where a rising function crosses zero, to the last digits, by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _smallest(valley: Any, low: float, high: float) -> float:
    """Where a function of one valley is least, by golden section."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(100):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if valley(a) < valley(b) else (a, high)
    return (low + high) / 2
