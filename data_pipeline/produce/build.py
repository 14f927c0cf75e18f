"""One block, from budgets to a finished folder: choose, tokenise, pack, write. And the validation block beside them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.document import BLOCKS, VALIDATION
from data_pipeline.produce import pack, select
from data_pipeline.produce.corpus import Corpus
from data_pipeline.produce.ledger import Ledger, Plan
from data_pipeline.produce.pack import Shape
from data_pipeline.produce.parts import Parts
from maxlm.blocks.manifest import DatasetInfo, Manifest, Packing, TokenAccount
from maxlm.blocks.writer import new_block
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path


@dataclass
class Builder:
    """What all blocks of a data set are made from.

    A block's documents belong to groups, each with a budget of tokens; here a group is a domain.
    """

    config: DataConfig
    dataset: PathLike
    info: DatasetInfo
    corpus: Corpus
    parts: Parts

    def block(self, number: int, ledger: Ledger) -> Manifest:
        """Makes block `number`. One that was counted before, and whose files are gone, is made of the same documents.

        Raises:
          ConfigError, DataError: as `budgets`.
          DiskFullError: no space; nothing of the block remains.
        """
        shape = self._shape(self.info.rows_in(number))
        plan = ledger.plan(number)
        if plan is None or number not in ledger.applied():
            budgets = self.budgets(shape.capacity)
            chosen = self._choose(budgets, ledger.uses(), number)
            chosen, budgets = self._fitted(chosen, budgets, shape, number)
            plan = ledger.record(number, chosen, tuple(budgets.tolist()), self.config.produce.seed)
        else:
            chosen = ledger.documents(number)
            self.parts.encode(chosen)
        manifest = self._write(BLOCKS, number, shape, chosen, plan)
        self.parts.clear()
        return manifest

    def validation(self) -> Manifest | None:
        """Makes the validation block of the documents held out, all rows of seq_len; None where there are none."""
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
            parts.append(self._fill(int(most[domain]), iter([run])))
        chosen = np.concatenate(parts)
        there = np.bincount(
            self.corpus.domain[chosen], weights=self.parts.tokens(chosen), minlength=len(self.corpus.domains)
        )
        budgets = np.minimum(most, there.astype(np.int64))
        shape = self._shape({self.info.seq_len: 1})
        kept = self._kept(chosen, budgets)
        needed = self.parts.rows_needed(shape, chosen, kept, produce.seed, 0)[self.info.seq_len]
        shape = replace(shape, rows={self.info.seq_len: -(-needed // produce.row_multiple) * produce.row_multiple})
        manifest = self._write(VALIDATION, 0, shape, chosen, Plan(produce.seed, tuple(budgets.tolist()), 0, 0))
        self.parts.clear()
        return manifest

    def budgets(self, tokens: int) -> np.ndarray:
        """Tokens of each domain in a block of `tokens`, int64 `[domains]`.

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
        return select.budgets(share, tokens)

    def _choose(self, budgets: np.ndarray, uses: np.ndarray, number: int) -> np.ndarray:
        """The documents that fill the budgets, group by group in the order of choice, int64 `[uses]`."""
        domains = np.flatnonzero(budgets).tolist()
        members = {d: np.flatnonzero((self.corpus.domain == d) & ~self.corpus.held_out) for d in domains}
        orders = {d: select.in_order(members[d], uses, self.config.produce.seed, number) for d in domains}
        firsts = {d: next(orders[d]) for d in domains}
        # What all groups need first is encoded in one pass over the corpus.
        likely = [firsts[d][: self.parts.enough(firsts[d], int(budgets[d]))] for d in domains]
        self.parts.encode(np.concatenate(likely))
        runs = {d: chain([firsts[d]], orders[d]) for d in domains}
        return np.concatenate([self._fill(int(budgets[d]), runs[d]) for d in domains])

    def _fill(self, budget: int, runs: Iterator[np.ndarray]) -> np.ndarray:
        """Documents of one group, taken from `runs` in order, until their tokens reach `budget` or they end."""
        chosen = []
        for run in runs:
            while len(run):
                part = run[: self.parts.enough(run, budget)]
                self.parts.encode(part)
                ends = np.cumsum(self.parts.tokens(part))
                if ends[-1] >= budget:
                    chosen.append(part[: int(np.searchsorted(ends, budget)) + 1])
                    return np.concatenate(chosen)
                chosen.append(part)
                budget -= int(ends[-1])
                run = run[len(part) :]
        return np.concatenate(chosen)

    def _shape(self, rows: dict[int, int]) -> Shape:
        return Shape(self.config.produce.pack, rows, self.config.produce.overlap)

    def _groups(self, chosen: np.ndarray) -> np.ndarray:
        """The group of each use: an index into the budgets, integer `[uses]`."""
        return self.corpus.domain[chosen]

    def _kept(self, chosen: np.ndarray, budgets: np.ndarray) -> np.ndarray:
        """Of the tokens of each use, those that its group's budget has room for, int64 `[uses]`."""
        return pack.cut(self.parts.tokens(chosen), self._groups(chosen), budgets)

    def _fitted(
        self, chosen: np.ndarray, budgets: np.ndarray, shape: Shape, number: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As many of the documents as the block's rows hold once they are packed, and the budgets that say so.

        All budgets shrink alike, so that shares stay exact.
        """
        seed, full, tokens = self.config.produce.seed, budgets / budgets.sum(), int(budgets.sum())
        while True:
            kept = self._kept(chosen, budgets)
            needed = self.parts.rows_needed(shape, chosen, kept, seed, number)
            over = max(needed[length] / rows for length, rows in shape.rows.items())
            if over <= 1:
                return chosen[kept > 0], budgets
            tokens = min(int(tokens / over), tokens - 1)
            budgets = select.budgets(full, tokens)

    def _write(self, blocks: str, number: int, shape: Shape, chosen: np.ndarray, plan: Plan) -> Manifest:
        folder = as_path(self.dataset) / blocks / f"block-{number:05d}"
        kept = self._kept(chosen, np.array(plan.budgets))
        with new_block(folder) as publish:
            shard_rows = self.config.produce.shard_rows
            whole = self.parts.write(folder, shape, chosen, kept, plan.seed, number, shard_rows)
            selected, written = int(self.parts.tokens(chosen).sum()), int(kept.sum())
            return publish(
                block=number,
                seq_len=self.info.seq_len,
                rows=sum(shape.rows.values()),
                shards=whole.shards,
                account=TokenAccount(
                    selected=selected,
                    written=written,
                    truncated=selected - written,
                    padded=shape.capacity - written - whole.repeated,
                    repeated=whole.repeated,
                    masked=int(np.minimum(self.parts.prompts(chosen), kept).sum()),
                ),
                domain_tokens=_tokens_by(self.corpus.domains, self.corpus.domain[chosen], kept),
                source_tokens=_tokens_by(self.corpus.sources, self.corpus.source[chosen], kept),
                documents=len(chosen),
                seed=plan.seed,
                tokenizer_digest=self.info.tokenizer_digest,
                selection=(plan.start, plan.end),
                packing=Packing(shape.packer, round(written / shape.capacity, 9), *whole.cuts),
            )


def _tokens_by(names: tuple[str, ...], index: np.ndarray, kept: np.ndarray) -> dict[str, int]:
    """Kept tokens under each name that has any, in the order of the names."""
    sums = np.zeros(len(names), np.int64)
    np.add.at(sums, index, kept)
    return {name: int(tokens) for name, tokens in zip(names, sums, strict=True) if tokens}
