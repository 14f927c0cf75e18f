"""One block, from budgets to a finished folder: choose, tokenise, pack, write. And the validation block beside them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.document import BLOCKS, VALIDATION
from data_pipeline.mix import forecast, schedule
from data_pipeline.mix.choose import Chooser
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.fill import Filling, in_random_order
from data_pipeline.mix.forecast import Forecast
from data_pipeline.mix.ledger import Ledger, Plan
from data_pipeline.mix.pools import Pools, pools
from data_pipeline.mix.sizes import domain_ratios
from data_pipeline.produce import pack
from data_pipeline.produce.tokenise import TokenSpool
from maxlm.blocks.format import Rows
from maxlm.blocks.manifest import DatasetInfo, Manifest
from maxlm.blocks.writer import write_block
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer


@dataclass
class Builder:
    """What all blocks of a data set are made from.

    Attributes:
      check: called between steps of the work; what it raises (a signal came) ends it.
    """

    config: DataConfig
    dataset: PathLike
    info: DatasetInfo
    corpus: Corpus
    tokenizer: Tokenizer
    spool: TokenSpool
    check: Callable[[], None]

    def block(self, number: int, ledger: Ledger) -> Manifest:
        """Makes block `number`. One that was counted before, and whose files are gone, is made of the same documents.

        Raises:
          ConfigError: the mixture names what has no documents.
          DataError: documents are used up as often as they may be.
          DiskFullError: no space; nothing of the block remains.
        """
        plan = ledger.plan(number)
        if plan is None or number not in ledger.applied():
            tokens = self.block_tokens
            choice = self._chooser.choose(number, number * tokens, tokens, ledger, self._measure, self.ratios)
            chosen = choice.documents
            budgets = tuple(choice.budgets.tolist())
            plan = ledger.record(number, chosen, budgets, self.config.produce.seed, choice.by, choice.stage)
        else:
            chosen = ledger.documents(number)
            self.spool.add(chosen, self.check)
        manifest = self._write(BLOCKS, number, self.info.rows_per_block, chosen, self.corpus.index.codes[plan.by], plan)
        self.spool.clear()
        return manifest

    def validation(self) -> Manifest | None:
        """Makes the validation block of the documents held out; None where there are none."""
        index, produce, row_tokens = self.corpus.index, self.config.produce, self.info.row_format.row_tokens
        held_out = np.flatnonzero(index.held_out)
        if not len(held_out):
            return None
        codes, count = self.corpus.domain, len(self.corpus.domains)
        sizes = np.bincount(codes[held_out], weights=self.corpus.bytes[held_out], minlength=count)
        most = schedule.budgets(sizes / sizes.sum(), produce.holdout_tokens)
        most = np.where(sizes > 0, np.maximum(most, row_tokens), 0)  # at least a row of each domain
        selection = in_random_order(
            index, codes, count, lambda begin, end: index.held_out[begin:end], produce.seed, produce.workers
        )
        filling = Filling(selection, index.bytes, self.ratios, self._measure)
        chosen = np.concatenate([filling.upto(domain, int(most[domain])) for domain in np.flatnonzero(most).tolist()])
        there = np.bincount(codes[chosen], weights=self.spool.lengths(chosen), minlength=count)
        budgets = np.minimum(most, there.astype(np.int64))
        rows = _rounded_up(-(-int(budgets.sum()) // row_tokens), produce.row_multiple)
        plan = Plan(produce.seed, tuple(budgets.tolist()), 0, 0)
        manifest = self._write(VALIDATION, 0, rows, chosen, codes, plan)
        self.spool.clear()
        return manifest

    @property
    def block_tokens(self) -> int:
        return self.info.rows_per_block * self.info.row_format.row_tokens

    @cached_property
    def pools(self) -> Pools:
        """What there is to train on, in totals."""
        return pools(self.corpus.index, self.config)

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self.config, self.corpus.index, self.pools, self.config.produce.workers, self.check)

    def foretell(self) -> Forecast:
        """What the run will use of each name of the mixture.

        Raises:
          ConfigError, DataError: a mixture or stages that can't be, or no text to train on.
        """
        schedule.check_lengths(self.config, self.block_tokens)
        count = forecast.blocks_of(self.config, self.pools, self.ratios, self.block_tokens)
        return forecast.foretell(self.config, self.pools, self.ratios, [self.block_tokens] * count)

    @cached_property
    def ratios(self) -> np.ndarray:
        """Bytes of text per token of each domain, as a sample has them, float64 `[domains]`."""
        return domain_ratios(self.corpus, self.tokenizer)

    def _measure(self, ordinals: np.ndarray) -> np.ndarray:
        """Tokens of documents, int64; encodes those that are new."""
        self.spool.add(ordinals, self.check)
        return self.spool.lengths(ordinals)

    def _write(
        self,
        blocks: str,
        number: int,
        rows: int,
        chosen: np.ndarray,
        groups: np.ndarray,
        plan: Plan,
    ) -> Manifest:
        """`groups`: what the plan's budgets are of, for each document of the corpus."""
        lengths, domains = self.spool.lengths(chosen), self.corpus.domain[chosen]
        kept = pack.cut(lengths, groups[chosen], np.array(plan.budgets))
        sources = self.corpus.source[chosen]
        pieces = pack.Pieces(self.spool.tokens(), self.spool.offsets(chosen), lengths, kept, domains, sources)
        row_format = self.info.row_format
        chunks = pack.pack(
            pieces, rows, row_format.row_tokens, seed=plan.seed, block=number, pad_id=self.tokenizer.pad_id
        )
        return write_block(
            as_path(self.dataset) / blocks / f"block-{number:05d}",
            row_format,
            self._checked(chunks),
            rows=rows,
            shard_rows=self.config.produce.shard_rows,
            block=number,
            account=pack.account(pieces, rows * row_format.row_tokens),
            domain_tokens=pack.tokens_by(self.corpus.domains, domains, kept),
            source_tokens=pack.tokens_by(self.corpus.sources, sources, kept),
            documents=len(chosen),
            seed=plan.seed,
            tokenizer_digest=self.info.tokenizer_digest,
            selection=(plan.start, plan.end),
            stage=plan.stage,
        )

    def _checked(self, chunks: Iterator[Rows]) -> Iterator[Rows]:
        for chunk in chunks:
            self.check()
            yield chunk


def _rounded_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
