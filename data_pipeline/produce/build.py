"""One block, from budgets to a finished folder: choose, tokenise, pack, write. And the validation block beside them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from data_pipeline.config import DataConfig
from data_pipeline.document import BLOCKS, VALIDATION
from data_pipeline.mix import forecast, schedule
from data_pipeline.mix.choose import Chooser
from data_pipeline.mix.corpus import Corpus
from data_pipeline.mix.fill import Filling, FruitlessError, in_random_order
from data_pipeline.mix.forecast import Forecast
from data_pipeline.mix.ledger import Ledger, Plan
from data_pipeline.mix.pools import Pools, pools
from data_pipeline.mix.sizes import domain_ratios
from data_pipeline.produce import pack
from data_pipeline.produce.dialogue import UNUSABLE, Dialogues, Kind
from data_pipeline.produce.pack import Shape
from data_pipeline.produce.parts import Parts
from maxlm.blocks.manifest import DatasetInfo, Manifest, Packing, TokenAccount
from maxlm.blocks.writer import new_block
from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer

_NEXT_DRAW = 1_000_003  # from the seed of one draw to that of the next


class Chosen(NamedTuple):
    """What a block is to be made of, as the ledger records it."""

    documents: np.ndarray
    budgets: tuple[int, ...]
    seed: int
    by: str
    stage: str


@dataclass
class Builder:
    """What all blocks of a data set are made from.

    A block's documents belong to groups (the names of its mixture), each with a budget of tokens.

    Attributes:
      check: called between steps of the work; what it raises (a signal came) ends it.
      say: told what a person should know.
    """

    config: DataConfig
    dataset: PathLike
    info: DatasetInfo
    corpus: Corpus
    tokenizer: Tokenizer
    parts: Parts
    check: Callable[[], None]
    say: Callable[[str], None]
    _first: Chosen | None = None

    def settle(self, ledger: Ledger) -> None:
        """Chooses the first block's documents, so that it is told what can't be made of them before anything stands.

        Raises:
          ConfigError, DataError: as `block`.
        """
        if ledger.plan(0) is None:
            self._first = self._chosen(0, ledger, 0)

    def block(self, number: int, ledger: Ledger, draw: int = 0) -> Manifest:
        """Makes block `number`. One that was counted before, and whose files are gone, is made of the same documents.

        `draw`: how often it was to be made anew; each draw has a seed of its own.

        Raises:
          ConfigError: the mixture names what has no documents, or rows would cut conversations.
          DataError: documents are used up as often as they may be, or none can be used, or some are pairs.
          DiskFullError: no space; nothing of the block remains.
        """
        shape, plan = self._shape(self.info.rows_in(number)), ledger.plan(number)
        if plan is None or number not in ledger.applied():
            first, self._first = self._first, None
            chosen = first if first and (number, draw) == (0, 0) else self._chosen(number, ledger, draw)
            documents = chosen.documents
            plan = ledger.record(number, documents, chosen.budgets, chosen.seed, chosen.by, chosen.stage, draw)
        else:
            documents = ledger.documents(number)
            self.parts.encode(documents)
        manifest = self._write(BLOCKS, number, shape, documents, self.corpus.index.codes[plan.by], plan)
        self._say_unusable(f"block {number}", documents)
        self.parts.clear()
        return manifest

    def _chosen(self, number: int, ledger: Ledger, draw: int) -> Chosen:
        shape, seed = self._shape(self.info.rows_in(number)), self.config.produce.seed + draw * _NEXT_DRAW
        start = sum(self._block_tokens(before) for before in range(number))
        try:
            choice = self._chooser.choose(number, start, shape.capacity, ledger, self._measure, self.ratios, seed=seed)
        except FruitlessError as error:
            raise DataError(self._fruitless(error.documents)) from error
        groups = self.corpus.index.codes[choice.by]
        documents, budgets = self._fitted(choice.documents, choice.budgets, groups, shape, number, seed)
        self._all_pairs(documents, shape)
        return Chosen(documents, tuple(budgets.tolist()), seed, choice.by, choice.stage)

    @property
    def validation_lengths(self) -> list[int]:
        """Lengths of the rows that validation is asked for, seq_len first: each stage's longest."""
        return sorted({max(self.info.rows_in(block)) for block in range(len(self.info.rows))}, reverse=True)

    def validation(self, number: int, length: int) -> Manifest | None:
        """Makes validation block `number` of the documents held out, in rows of `length`; None where there are none, or
        none that can be used.

        Every such block holds the same documents.

        Raises:
          ConfigError, DataError, DiskFullError: as `block`.
        """
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
        parts = [filling.upto(domain, int(most[domain])) for domain in np.flatnonzero(most).tolist()]
        chosen = np.concatenate(parts)
        there = np.bincount(codes[chosen], weights=self.parts.tokens(chosen), minlength=count)
        if not there.any():
            return None
        budgets = np.minimum(most, there.astype(np.int64))
        shape = self._shape({length: 1})
        kept = self._kept(chosen, codes, budgets)
        needed = self.parts.rows_needed(shape, chosen, kept, produce.seed, 0)[length]
        unit = produce.row_multiple * (self.info.seq_len // length)
        shape = replace(shape, rows={length: -(-needed // unit) * unit})
        manifest = self._write(
            VALIDATION, number, shape, chosen, codes, Plan(produce.seed, tuple(budgets.tolist()), 0, 0)
        )
        self.parts.clear()
        return manifest

    @cached_property
    def pools(self) -> Pools:
        """What there is to train on, in totals."""
        return pools(self.corpus.index, self.config)

    @cached_property
    def _chooser(self) -> Chooser:
        return Chooser(self.config, self.corpus.index, self.pools, self.config.produce.workers, self.check)

    @cached_property
    def ratios(self) -> np.ndarray:
        """Bytes of text per token of each domain, as a sample has them, float64 `[domains]`."""
        return domain_ratios(self.corpus, self.tokenizer)

    def foretell(self) -> Forecast:
        """What the run will use of each name of the mixture.

        Raises:
          ConfigError, DataError: a mixture or stages that can't be, or no text to train on.
        """
        lasting = self._block_tokens(len(self.info.rows) - 1)  # what blocks come to; the first ones may be smaller
        schedule.check_lengths(self.config, lasting)
        count = forecast.blocks_of(self.config, self.pools, self.ratios, lasting)
        sizes = [self._block_tokens(number) for number in range(count)]
        return forecast.foretell(self.config, self.pools, self.ratios, sizes)

    def _block_tokens(self, number: int) -> int:
        return self._shape(self.info.rows_in(number)).capacity

    def _shape(self, rows: dict[int, int]) -> Shape:
        return Shape(self.config.produce.pack, rows, self.config.produce.overlap)

    def _measure(self, ordinals: np.ndarray) -> np.ndarray:
        """Tokens of documents, int64; encodes those that are new."""
        self.parts.encode(ordinals)
        return self.parts.tokens(ordinals)

    def _fruitless(self, documents: np.ndarray) -> str:
        """Why none of a group's documents, of which `documents` are some, can stand in a row."""
        names = [self.corpus.domains[code] for code in np.unique(self.corpus.domain[documents])]
        where, lost = f"{self.corpus.folder}: domain {', '.join(names)}", self.parts.lost(documents)
        if (lost == UNUSABLE).any():
            why = self._dialogues.why_unusable(int(documents[lost == UNUSABLE][0]))
            return f"{where}: none of the conversations can be used: {why}"
        return (
            f"{where}: none of the conversations fits into a row of {self.info.seq_len + 1} tokens; raise "
            "config.produce.seq_len, or set config.conversations.too_long='cut'"
        )

    def _say_unusable(self, what: str, documents: np.ndarray) -> None:
        left_out = documents[self.parts.lost(documents) == UNUSABLE]
        if len(left_out):
            first = self._dialogues.why_unusable(int(left_out[0]))
            counted = f"{len(left_out):,} of {len(documents):,} documents"
            self.say(f"{what}: {counted} are conversations that can't be used, and are left out; the first: {first}")

    @property
    def _dialogues(self) -> Dialogues:
        row_tokens = self.info.row_format.row_tokens
        return Dialogues(self.corpus, self.tokenizer, self.config.conversations, self.dataset, row_tokens)

    def _fitted(
        self, chosen: np.ndarray, budgets: np.ndarray, groups: np.ndarray, shape: Shape, number: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """As many of the documents as the block's rows hold once they are packed, and the budgets that say so.

        All budgets shrink alike, so that shares stay exact.
        """
        full, tokens = budgets / budgets.sum(), int(budgets.sum())
        while True:
            kept = self._kept(chosen, groups, budgets)
            needed = self.parts.rows_needed(shape, chosen, kept, seed, number)
            over = max(needed[length] / rows for length, rows in shape.rows.items())
            if over <= 1:
                too_long = self.parts.tokens(chosen) == 0  # they are left out, and count as used all the same
                return chosen[(kept > 0) | too_long], budgets
            tokens = min(int(tokens / over), tokens - 1)
            budgets = schedule.budgets(full, tokens)

    def _kept(self, chosen: np.ndarray, groups: np.ndarray, budgets: np.ndarray) -> np.ndarray:
        """Tokens of each use that fit into its group's budget. Conversations are kept whole or not at all."""
        return pack.cut(self.parts.tokens(chosen), groups[chosen], budgets, self.parts.kinds(chosen) != Kind.TEXT)

    def _all_pairs(self, chosen: np.ndarray, shape: Shape) -> bool:
        """Whether the documents are pairs.

        Raises:
          ConfigError: conversations would be cut by rows.
          DataError: some are pairs, some are not; training could not tell which are which.
        """
        kinds = self.parts.kinds(chosen)
        if (kinds != Kind.TEXT).any() and (shape.packer != "best_fit" or len(shape.rows) > 1):
            key = "pack" if shape.packer != "best_fit" else "row_lengths"
            raise ConfigError(
                f"config.produce.{key}: conversations are not cut by a row's end; that takes pack='best_fit' and rows "
                "of one length"
            )
        pairs = kinds == Kind.PAIR
        if pairs.any() and not pairs.all():
            raise DataError(
                f"{self.corpus.where(int(chosen[pairs][0]))}: a pair of answers, and "
                f"{self.corpus.where(int(chosen[~pairs][0]))} is none; make a data set of pairs alone"
            )
        return bool(pairs.any())

    def _write(
        self, blocks: str, number: int, shape: Shape, chosen: np.ndarray, groups: np.ndarray, plan: Plan
    ) -> Manifest:
        """`groups`: what the plan's budgets are of, for each document of the corpus."""
        folder = as_path(self.dataset) / blocks / f"block-{number:05d}"
        kept, lost = self._kept(chosen, groups, np.array(plan.budgets)), self.parts.lost(chosen)
        unusable, lost = int((lost == UNUSABLE).sum()), np.maximum(lost, 0)
        pairs = self._all_pairs(chosen, shape)
        with new_block(folder) as publish:
            shard_rows = self.config.produce.shard_rows
            whole = self.parts.write(folder, shape, chosen, kept, plan.seed, number, shard_rows)
            selected, written = int((self.parts.tokens(chosen) + lost).sum()), int(kept.sum())
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
                    masked=whole.masked,
                ),
                domain_tokens=_tokens_by(self.corpus.domains, self.corpus.domain[chosen], kept),
                source_tokens=_tokens_by(self.corpus.sources, self.corpus.source[chosen], kept),
                documents=len(chosen),
                seed=plan.seed,
                tokenizer_digest=self.info.tokenizer_digest,
                selection=(plan.start, plan.end),
                stage=plan.stage,
                draw=plan.draw,
                packing=Packing(
                    shape.packer,
                    round(written / shape.capacity, 9),
                    *whole.cuts,
                    conversations_too_long=int((lost > 0).sum()),
                    tokens_too_long=int(lost.sum()),
                    conversations_unusable=unusable,
                ),
                pairs=pairs,
            )


def _tokens_by(names: tuple[str, ...], index: np.ndarray, kept: np.ndarray) -> dict[str, int]:
    """Kept tokens under each name that has any, in the order of the names."""
    sums = np.zeros(len(names), np.int64)
    np.add.at(sums, index, kept)
    return {name: int(tokens) for name, tokens in zip(names, sums, strict=True) if tokens}
