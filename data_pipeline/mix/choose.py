"""A block's documents: its stage, budgets by name, and documents until each is met."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.mix import schedule
from data_pipeline.mix.fill import Filling, Measure
from data_pipeline.mix.filter import resolve
from data_pipeline.mix.index import Index
from data_pipeline.mix.ledger import Ledger
from data_pipeline.mix.order import Order, sample_scores
from data_pipeline.mix.pools import Pools
from data_pipeline.mix.select import Rules, Selection
from data_pipeline.mix.spread import Recent


class Choice(NamedTuple):
    """What a block is made of.

    Attributes:
      documents: ordinals, name by name, in the order of choice, int64 `[uses]`.
      budgets: tokens of each name of `by`, int64; they differ from the shares where a name was exhausted.
      by: "domain", "language" or "source"; stage: the stage's name.
    """

    documents: np.ndarray
    budgets: np.ndarray
    by: str
    stage: str


class Chooser:
    """Chooses for all blocks of a run."""

    def __init__(
        self,
        config: DataConfig,
        index: Index,
        pools: Pools,
        workers: int = 0,
        check: Callable[[], None] = lambda: None,
    ):
        """`workers`: threads, 0 for one per core. `check`: called between chunks; what it raises ends the work."""
        self._config, self._index, self._pools, self._workers, self._check = config, index, pools, workers, check
        self._stages = schedule.stages(config)
        self._rules: dict[int, Rules] = {}

    def choose(
        self,
        number: int,
        start: int,
        tokens: int,
        ledger: Ledger,
        measure: Measure,
        domain_ratios: np.ndarray,
        part: Callable[[np.ndarray], np.ndarray] | None = None,
        seed: int | None = None,
    ) -> Choice:
        """The documents of block `number`, a pure function of the config, the corpus and the ledger.

        Args:
          start: tokens of the run before the block; tokens: of the block.
          domain_ratios: bytes per token of each domain; how good they are changes only the speed.
          part: which ordinals may be taken, for a block that several make together, disjoint parts of it each; near-
            duplicates are kept apart within a part (all of them, where a part holds clusters whole).
          seed: of the draw; config.produce.seed by default.

        Raises:
          DataError: the documents are used up as often as they may be.
        """
        stage = schedule.stage_of(self._stages, start, tokens)
        mixture = schedule.mixture_of(self._stages[stage])
        names = self._index.names[mixture.by]
        share = schedule.shares(mixture, names, self._pools.sizes(mixture.by, stage), start + tokens / 2)
        recent = None
        if spread := self._config.select.spread_tokens:
            recent = Recent(self._index, ledger.before(number, spread))
        rules = self._rules_of(stage, part)

        def uses(begin: int, end: int) -> np.ndarray:
            self._check()
            return ledger.uses(begin, end)

        seed = self._config.produce.seed if seed is None else seed
        selection = Selection(self._index, rules, uses, seed, number, recent, self._workers)
        budgets = schedule.budgets(share, tokens)
        filling = Filling(selection, self._index.bytes, self._pools.ratios(mixture.by, domain_ratios), measure)
        documents, budgets = filling.fill(budgets, share, mixture.exhausted == "redistribute", names, number)
        return Choice(documents, budgets, mixture.by, self._stages[stage].name)

    def _rules_of(self, number: int, part: Callable[[np.ndarray], np.ndarray] | None) -> Rules:
        """What a stage may take; worked out when it begins."""
        if number not in self._rules:
            stage = self._stages[number]
            mixture, order = schedule.mixture_of(stage), schedule.order_of(stage)
            names, codes = self._index.names[mixture.by], self._index.codes[mixture.by]
            holds = resolve(self._index, stage.filter, mixture.by)
            places = sample_scores(self._index, order.by, codes, holds, len(names)) if order.by else None
            caps = schedule.caps(mixture, names)
            self._rules = {number: Rules(codes, caps, holds, Order(order, self._config.select.decay, places))}
        rules = self._rules[number]
        if part is None:
            return rules
        holds = rules.holds
        return Rules(
            rules.codes, rules.caps, lambda begin, end: holds(begin, end) & part(np.arange(begin, end)), rules.order
        )
