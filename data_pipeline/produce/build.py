"""One block, from budgets to a finished folder: choose, tokenise, pack, write. And the validation block beside them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.document import BLOCKS, VALIDATION
from data_pipeline.produce import pack, select
from data_pipeline.produce.corpus import Corpus
from data_pipeline.produce.ledger import Ledger
from data_pipeline.produce.tokenise import TokenSpool
from maxlm.blocks.format import Rows
from maxlm.blocks.manifest import DatasetInfo, Manifest
from maxlm.blocks.writer import write_block
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer

_MARGIN = 1.02  # encode this much more than the budget seems to need, so that a second pass over the corpus is rare


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
          ConfigError, DataError: as `budgets`.
          DiskFullError: no space; nothing of the block remains.
        """
        plan = ledger.plan(number)
        if plan is None or number not in ledger.applied():
            budgets = self.budgets()
            chosen = self._choose(budgets, ledger.uses(), number)
            plan = ledger.record(number, chosen, tuple(budgets.tolist()), self.config.produce.seed)
        else:
            chosen = ledger.documents(number)
            self.spool.add(chosen, self.check)
        manifest = self._write(
            BLOCKS, number, self.info.rows_per_block, chosen, np.array(plan.budgets), plan.seed, (plan.start, plan.end)
        )
        self.spool.clear()
        return manifest

    def validation(self) -> Manifest | None:
        """Makes the validation block of the documents held out; None where there are none."""
        held_out = np.flatnonzero(self.corpus.held_out)
        if not len(held_out):
            return None
        produce, row_tokens = self.config.produce, self.info.row_format.row_tokens
        sizes = np.bincount(
            self.corpus.domain[held_out], weights=self.corpus.bytes[held_out], minlength=len(self.corpus.domains)
        )
        most = select.budgets(sizes / sizes.sum(), produce.holdout_tokens)
        most = np.where(sizes > 0, np.maximum(most, row_tokens), 0)  # at least a row of each domain
        unused = np.zeros(len(self.corpus), np.uint32)
        parts = []
        for domain in np.flatnonzero(most).tolist():
            members = held_out[self.corpus.domain[held_out] == domain]
            run = next(select.in_order(members, unused, produce.seed, 0))
            parts.append(self._fill(int(most[domain]), domain, iter([run])))
        chosen = np.concatenate(parts)
        there = np.bincount(
            self.corpus.domain[chosen], weights=self.spool.lengths(chosen), minlength=len(self.corpus.domains)
        )
        budgets = np.minimum(most, there.astype(np.int64))
        rows = _rounded_up(-(-int(budgets.sum()) // row_tokens), produce.row_multiple)
        manifest = self._write(VALIDATION, 0, rows, chosen, budgets, produce.seed, (0, 0))
        self.spool.clear()
        return manifest

    def budgets(self) -> np.ndarray:
        """Tokens of each domain in a block, int64 `[domains]`.

        Raises:
          ConfigError: the mixture names a domain without documents.
          DataError: there is no text to train on.
        """
        train = ~self.corpus.held_out
        sizes = np.bincount(
            self.corpus.domain[train], weights=self.corpus.bytes[train], minlength=len(self.corpus.domains)
        )
        if not sizes.any():
            raise DataError(f"{self.corpus.folder}: no text to train on; lower config.produce.holdout")
        share = select.shares(self.config.mixture, self.corpus.domains, sizes)
        return select.budgets(share, self.info.rows_per_block * self.info.row_format.row_tokens)

    def _choose(self, budgets: np.ndarray, uses: np.ndarray, number: int) -> np.ndarray:
        """The documents that fill the budgets, domain by domain in the order of choice, int64 `[uses]`."""
        domains = np.flatnonzero(budgets).tolist()
        members = {d: np.flatnonzero((self.corpus.domain == d) & ~self.corpus.held_out) for d in domains}
        orders = {d: select.in_order(members[d], uses, self.config.produce.seed, number) for d in domains}
        firsts = {d: next(orders[d]) for d in domains}
        # What all domains need first is encoded in one pass over the corpus.
        likely = [firsts[d][: self._enough(firsts[d], d, int(budgets[d]))] for d in domains]
        self.spool.add(np.concatenate(likely), self.check)
        runs = {d: chain([firsts[d]], orders[d]) for d in domains}
        return np.concatenate([self._fill(int(budgets[d]), d, runs[d]) for d in domains])

    def _fill(self, budget: int, domain: int, runs: Iterator[np.ndarray]) -> np.ndarray:
        """Documents of one domain, taken from `runs` in order, until their tokens reach `budget` or they end."""
        chosen = []
        for run in runs:
            while len(run):
                part = run[: self._enough(run, domain, budget)]
                self.spool.add(part, self.check)
                ends = np.cumsum(self.spool.lengths(part))
                if ends[-1] >= budget:
                    chosen.append(part[: int(np.searchsorted(ends, budget)) + 1])
                    return np.concatenate(chosen)
                chosen.append(part)
                budget -= int(ends[-1])
                run = run[len(part) :]
        return np.concatenate(chosen)

    def _enough(self, run: np.ndarray, domain: int, tokens: int) -> int:
        """How many documents of `run` likely hold `tokens` tokens; at least one."""
        wanted = tokens * self.spool.bytes_per_token(domain) * _MARGIN
        return int(np.searchsorted(np.cumsum(self.corpus.bytes[run]), wanted)) + 1

    def _write(
        self,
        blocks: str,
        number: int,
        rows: int,
        chosen: np.ndarray,
        budgets: np.ndarray,
        seed: int,
        selection: tuple[int, int],
    ) -> Manifest:
        lengths, domains = self.spool.lengths(chosen), self.corpus.domain[chosen]
        kept = pack.cut(lengths, domains, budgets)
        sources = self.corpus.source[chosen]
        pieces = pack.Pieces(self.spool.tokens(), self.spool.offsets(chosen), lengths, kept, domains, sources)
        row_format = self.info.row_format
        chunks = pack.pack(pieces, rows, row_format.row_tokens, seed=seed, block=number, pad_id=self.tokenizer.pad_id)
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
            seed=seed,
            tokenizer_digest=self.info.tokenizer_digest,
            selection=selection,
        )

    def _checked(self, chunks: Iterator[Rows]) -> Iterator[Rows]:
        for chunk in chunks:
            self.check()
            yield chunk


def _rounded_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
