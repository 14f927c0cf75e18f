"""What a run takes from the corpus: shares, stages, order. Part of data_pipeline/config.py."""

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

from maxlm.errors import ConfigError

_TOLERANCE = 1e-6  # how far from 1 shares may sum
Points = tuple[tuple[float, float], ...]  # (tokens seen, value), ascending; linear between, level outside


@dataclass(frozen=True)
class MixtureConfig:
    """How the tokens of a block are split. Of `shares`, `weights` and `tokens` one is given, or none."""

    by: Literal["domain", "language", "source"] = "domain"  # what the names below are names of
    # name -> share of tokens, summing to 1; or a list of [tokens seen in the run, share], linear between
    shares: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)  # name -> any positive ratio (4, 4, 2); or a list of points
    tokens: dict[str, int] = field(default_factory=dict)  # name -> tokens in the whole run (or stage)
    # None of the three: share ∝ size^(1 / temperature), size in bytes of text. 1: as much as there is; more: flatter
    temperature: float = 1.0
    max_uses: int = 0  # a document is used at most so often; 0: no limit
    max_uses_of: dict[str, int] = field(default_factory=dict)  # the same by name, before max_uses
    # When all documents of a name are used up: its tokens go to the others by their shares, or the run stops before.
    exhausted: Literal["redistribute", "stop"] = "redistribute"

    def __post_init__(self) -> None:
        given = [name for name in ("shares", "weights", "tokens") if getattr(self, name)]
        if len(given) > 1:
            raise ConfigError(f"config.mixture: {' and '.join(given)} are given; one of them says it all")
        if self.temperature <= 0:
            raise ConfigError(f"config.mixture.temperature: {self.temperature} is not above 0")
        if self.max_uses < 0 or any(uses < 1 for uses in self.max_uses_of.values()):
            raise ConfigError("config.mixture.max_uses: no negative number, and at least 1 by name; 0 is no limit")
        if given and given[0] == "tokens":
            if any(tokens < 1 for tokens in self.tokens.values()):
                raise ConfigError(f"config.mixture.tokens: {self.tokens}: each name needs at least 1")
        elif given:
            self._check_curves(given[0])

    def _check_curves(self, key: str) -> None:
        curves = self.curves()
        for at in sorted({tokens for points in curves.values() for tokens, _ in points}):
            total = sum(at_tokens(points, at) for points in curves.values())
            where = f" at {at:,.0f} tokens" if any(len(points) > 1 for points in curves.values()) else ""
            if total <= 0:
                raise ConfigError(f"config.mixture.{key}: nothing has a share{where}")
            if key == "shares" and abs(total - 1) > _TOLERANCE:
                raise ConfigError(
                    f"config.mixture.shares: they sum to {total:.6g}{where}, not to 1: change one by {1 - total:+.6g}, "
                    "or give config.mixture.weights, which may sum to anything"
                )

    def curves(self) -> dict[str, Points]:
        """Shares or weights or tokens as points, by name; {} where there are none.

        Raises:
          ConfigError: points that are none, out of order or negative.
        """
        key = next((name for name in ("shares", "weights", "tokens") if getattr(self, name)), "shares")
        return {name: _points(f"config.mixture.{key}.{name}", value) for name, value in getattr(self, key).items()}


@dataclass(frozen=True)
class OrderConfig:
    """The order in which documents of equal uses are taken."""

    by: str = ""  # a name among the documents' scores, or "length" (bytes of text); "": at random
    descending: bool = False  # from the highest value to the lowest
    noise: float = 0.0  # 0: strictly in this order; 1: at random
    # "row_group": documents that stand together in a Parquet row group are drawn together, so that a block reads a part
    # of a corpus far larger than itself. The corpus must be shuffled: near in the corpus is near in the block.
    lot: Literal["document", "row_group"] = "document"

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ConfigError(f"config.order.noise: {self.noise} is outside [0, 1]")
        if self.by and self.lot != "document":
            raise ConfigError("config.order.lot: row groups are drawn at random; with config.order.by it is 'document'")


@dataclass(frozen=True)
class ScoreRangeConfig:
    """A bound on one score. Documents without that score do not pass it."""

    score: str  # a name among the documents' scores, or "length" (bytes of text)
    min: float | None = None
    max: float | None = None
    top: float = 1.0  # the best so many of each name of the mixture, as a share of its documents
    domains: tuple[str, ...] = ()  # the domains that the bound holds for; others pass; (): all

    def __post_init__(self) -> None:
        if not 0 < self.top <= 1:
            raise ConfigError(f"config.stages: top {self.top} of score {self.score!r} is outside (0, 1]")


@dataclass(frozen=True)
class FilterConfig:
    """Which documents a stage takes: those that meet all of it. Empty: all."""

    domains: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()  # with at least one of these
    without_marks: tuple[str, ...] = ()  # with none of these
    scores: tuple[ScoreRangeConfig, ...] = ()
    always_sources: tuple[str, ...] = ()  # sources whose documents need not meet `scores`


@dataclass(frozen=True)
class StageConfig:
    """A part of the run. Its length is rounded to whole blocks; after the last stage, that one goes on."""

    name: str
    tokens: int  # length
    mixture: MixtureConfig | None = None  # None: config.mixture
    order: OrderConfig | None = None  # None: config.order
    filter: FilterConfig = FilterConfig()
    # length of rows -> share of a block's places, e.g. {"4096": 1.0}; {}: config.produce.row_lengths
    row_lengths: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("config.stages: a stage without a name")
        if self.tokens < 1:
            raise ConfigError(f"config.stages: stage {self.name!r} has no length: give its tokens")


@dataclass(frozen=True)
class SelectConfig:
    """How often and how near one document, or one of its near-duplicates, comes again."""

    # 0: a document is used again when all others of its name were used as often. Above: a document's weight in the
    # draw falls to this share of it with each use (1: uses do not matter).
    decay: float = 0.0
    # Near-duplicates of one cluster, and repeats of a document, are at least so far apart while there is another
    # choice; 0: wherever they fall.
    spread_tokens: int = 100_000_000

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"config.select.decay: {self.decay} is outside [0, 1]")
        if self.spread_tokens < 0:
            raise ConfigError(f"config.select.spread_tokens: {self.spread_tokens} is negative")


def check_stages(order: OrderConfig, stages: tuple[StageConfig, ...], decay: float) -> None:
    """Raises ConfigError for what the parts of a run's plan cannot say together."""
    names = [stage.name for stage in stages]
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise ConfigError(f"config.stages: {twice[0]!r} is there twice")
    if decay and (order.by or any(stage.order and stage.order.by for stage in stages)):
        raise ConfigError(
            "config.select.decay: an order by a score leaves nothing to chance; set decay to 0, "
            "or choose the documents by a stage's filter (scores, top) instead of config.order.by"
        )


def at_tokens(points: Points, tokens: float) -> float:
    """The value of a curve: linear between its points, level outside."""
    before = points[0]
    for point in points:
        if tokens < point[0]:
            span = point[0] - before[0]
            return point[1] if not span else before[1] + (point[1] - before[1]) * (tokens - before[0]) / span
        before = point
    return before[1]


def _points(key: str, value: Any) -> Points:
    if _is_number(value):
        value = [[0, value]]
    if not isinstance(value, list | tuple) or not value or not all(_is_pair(point) for point in value):
        raise ConfigError(f"{key}: expected a number or a list of [tokens seen, share], found {value!r}")
    points = tuple((float(tokens), float(share)) for tokens, share in value)
    if any(b[0] <= a[0] for a, b in itertools.pairwise(points)):
        raise ConfigError(f"{key}: the points' tokens must ascend, found {value!r}")
    if min(share for _, share in points) < 0 or max(share for _, share in points) <= 0:
        raise ConfigError(f"{key}: {value!r}: no share is negative, and none is 0 throughout; leave the name out")
    return points


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(point: Any) -> bool:
    return isinstance(point, list | tuple) and len(point) == 2 and all(map(_is_number, point))
