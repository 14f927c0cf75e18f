"""One part of a block: its documents' tokens, and the shards made of them. Parts share nothing, and may be anywhere."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce.dialogue import Dialogues
from data_pipeline.produce.pack import Layout, Shape, cuts, lay_out, rows_needed
from data_pipeline.produce.rows import Documents, rows_of
from data_pipeline.produce.tokenise import TokenSpool
from maxlm.blocks.format import PADDING_DOMAIN, Rows
from maxlm.blocks.manifest import DatasetInfo, Shard
from maxlm.blocks.writer import ShardPlan, write_shard
from maxlm.paths import PathLike
from maxlm.tokenizer.base import Tokenizer


class Chosen(NamedTuple):
    """The uses of documents that a part packs, all int64 `[uses]`."""

    ordinals: np.ndarray
    kept: np.ndarray  # of each one's tokens, those that go into rows


@dataclass(frozen=True)
class Job:
    """What a part is to make of its documents."""

    shape: Shape
    seed: int
    block: int
    folder: str  # of the block
    shards: tuple[ShardPlan, ...]


class Written(NamedTuple):
    """What became of a part."""

    shards: list[Shard]
    cuts: np.ndarray  # as pack.cuts
    repeated: int  # tokens
    masked: int  # tokens that are context, those repeated not counted


@dataclass
class Tally:
    """Counted while rows go by."""

    context: int = 0  # tokens that are not learnt


class Part:
    """The work on one part. `check` is called between steps of it; what it raises (a signal came) ends the work."""

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Tokenizer,
        dialogues: Dialogues,
        info: DatasetInfo,
        scratch: PathLike,
        workers: int,
        check: Callable[[], None],
    ):
        """`scratch`: folder for tokens; `workers`: threads, 0 for one per core."""
        self._corpus, self._tokenizer, self._info, self._check = corpus, tokenizer, info, check
        self._workers = workers or os.cpu_count() or 1
        self._spool = TokenSpool(corpus, tokenizer, dialogues, info.row_format.token_dtype, scratch, self._workers)

    def add(self, ordinals: np.ndarray) -> np.ndarray:
        """Encodes documents that are not there yet; what `TokenSpool.add` says of them, int64 `[3, documents]`.

        Raises:
          DataError: a document can't be read, or a conversation was edited.
          ConfigError: a chat, and no template.
          DiskFullError: no space for the tokens.
        """
        return self._spool.add(ordinals, self._check)

    def rows_needed(self, shape: Shape, kept: np.ndarray, seed: int, block: int) -> dict[int, int]:
        """How many rows of each length these uses take."""
        return rows_needed(shape, kept, seed, block)

    def write(self, chosen: Chosen, job: Job) -> Written:
        """Writes the shards of this part, several at a time.

        Raises:
          DiskFullError: no space. What was written is the caller's to remove.
        """
        layouts = lay_out(job.shape, chosen.kept, job.seed, job.block)
        begins, _, masks, seconds = self._spool.find(chosen.ordinals)
        domains, dtype = self._corpus.domain[chosen.ordinals], self._info.row_format.token_dtype
        documents = Documents(self._spool.read, dtype, begins, masks, seconds, domains)
        with ThreadPoolExecutor(self._workers, thread_name_prefix="write") as pool:
            futures = [
                pool.submit(self._write_shard, documents, layouts[shard.seq_len], shard, job.folder)
                for shard in job.shards
            ]
            try:
                written = [future.result() for future in futures]
            finally:
                pool.shutdown(cancel_futures=True)
        repeated = sum(int(layout.pieces.repeated.sum()) for layout in layouts.values())
        context = sum(tally.context for _, tally in written)
        cut_up = cuts(layouts, chosen.kept, self._info.row_format.row_tokens)
        return Written([shard for shard, _ in written], cut_up, repeated, context - repeated)

    def _write_shard(self, documents: Documents, layout: Layout, shard: ShardPlan, folder: str) -> tuple[Shard, Tally]:
        row_format, pad_id = self._info.format_of(shard.seq_len), self._tokenizer.pad_id
        chunks = rows_of(documents, layout, row_format.row_tokens, shard.start, shard.end, pad_id)
        tally = Tally()
        return write_shard(folder, shard, row_format, self._checked(chunks, tally)), tally

    def _checked(self, chunks: Iterator[Rows], tally: Tally) -> Iterator[Rows]:
        for chunk in chunks:
            self._check()
            tally.context += int((~chunk.learn & (chunk.domains != PADDING_DOMAIN)).sum())
            yield chunk

    def clear(self) -> None:
        """Forgets all documents."""
        self._spool.clear()

    def close(self) -> None:
        self._spool.close()
