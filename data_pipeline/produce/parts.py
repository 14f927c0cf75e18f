"""All parts of a block seen as one: what is encoded of its documents, and how rows are shared out among parts."""

from typing import NamedTuple

import numpy as np

from data_pipeline.mix.corpus import Corpus
from data_pipeline.produce.crew import Crew
from data_pipeline.produce.known import Known
from data_pipeline.produce.pack import Shape
from data_pipeline.produce.part import Chosen, Job, Written
from maxlm.blocks.manifest import Shard
from maxlm.blocks.writer import plan_shards
from maxlm.paths import PathLike

_MARGIN = 1.02  # encode this much more than is likely needed, so that a second pass over the corpus is rare
_FIRST_BYTES_PER_TOKEN = 3.5  # a guess until the first documents of a domain are encoded; it changes speed only


class Whole(NamedTuple):
    """What became of a block."""

    shards: tuple[Shard, ...]
    cuts: tuple[int, ...]  # as pack.cuts
    repeated: int  # tokens
    masked: int  # as Written.masked


class Parts:
    """The parts that a crew works on. Which part a document belongs to depends on the corpus alone."""

    def __init__(self, corpus: Corpus, crew: Crew, count: int):
        self._corpus, self._crew, self._count = corpus, crew, count
        self._known = Known(3)  # tokens, those that are lost, kind
        self._seen = np.zeros((2, len(corpus.domains)), np.int64)  # bytes and tokens encoded so far, by domain

    def encode(self, ordinals: np.ndarray) -> None:
        """Encodes those of `ordinals` that are not encoded yet."""
        new = self._known.missing(ordinals)
        if not len(new):
            return
        of_part = self._split(new, new)
        for members, columns in zip(of_part, self._crew.call("add", [(m,) for m in of_part]), strict=True):
            self._known.add(members, *columns)
            for total, of_each in zip(self._seen, (self._corpus.bytes[members], columns[0]), strict=True):
                np.add.at(total, self._corpus.domain[members], of_each)

    def clear(self) -> None:
        """Forgets all documents; what was learnt of bytes per token stays."""
        self._known = Known(3)
        self._crew.call("clear", [()] * self._count)

    def tokens(self, ordinals: np.ndarray) -> np.ndarray:
        """Tokens of documents that were encoded, BOS and EOS included, int64 `[documents]`."""
        return self._known.find(ordinals)[0]

    def lost(self, ordinals: np.ndarray) -> np.ndarray:
        """Tokens of conversations that no row holds, and that count nowhere else; or UNUSABLE. int64 `[documents]`."""
        return self._known.find(ordinals)[1]

    def kinds(self, ordinals: np.ndarray) -> np.ndarray:
        """What each document is, as Kind, int64 `[documents]`."""
        return self._known.find(ordinals)[2]

    def enough(self, run: np.ndarray, tokens: int) -> int:
        """How many documents from the front of `run` likely hold `tokens` tokens; at least one."""
        seen_bytes, seen_tokens = self._seen
        rates = np.where(seen_tokens > 0, seen_tokens / np.maximum(seen_bytes, 1), 1 / _FIRST_BYTES_PER_TOKEN)
        likely = np.cumsum(self._corpus.bytes[run] * rates[self._corpus.domain[run]])
        return int(np.searchsorted(likely, tokens * _MARGIN)) + 1

    def rows_needed(self, shape: Shape, chosen: np.ndarray, kept: np.ndarray, seed: int, block: int) -> dict[int, int]:
        """Rows of each length that uses of documents take, of each use the first `kept` tokens."""
        return _summed(self._rows_needed(shape, chosen, kept, seed, block))

    def write(
        self,
        folder: PathLike,
        shape: Shape,
        chosen: np.ndarray,
        kept: np.ndarray,
        seed: int,
        block: int,
        shard_rows: int,
    ) -> Whole:
        """Writes the shards of a block into `folder`. Rows that no document needs stay empty.

        Raises:
          DiskFullError: no space. What was written is the caller's to remove.
        """
        rows = self._rows_needed(shape, chosen, kept, seed, block)
        needed = _summed(rows)
        rows[-1] = {length: rows[-1][length] + count - needed[length] for length, count in shape.rows.items()}
        runs = [(length, part[length]) for part in rows for length in shape.rows]
        shards = plan_shards(runs, shard_rows * max(shape.rows))
        jobs, each = [], len(shape.rows)
        for i, uses in enumerate(zip(self._split(chosen, chosen), self._split(chosen, kept), strict=True)):
            own = tuple(shard for run in shards[i * each : (i + 1) * each] for shard in run)
            jobs.append((Chosen(*uses), Job(shape, seed, block, str(folder), own)))
        written: list[Written] = self._crew.call("write", jobs)
        return Whole(
            shards=tuple(shard for part in written for shard in part.shards),
            cuts=tuple(np.sum([part.cuts for part in written], axis=0).tolist()),
            repeated=sum(part.repeated for part in written),
            masked=sum(part.masked for part in written),
        )

    def _rows_needed(
        self, shape: Shape, chosen: np.ndarray, kept: np.ndarray, seed: int, block: int
    ) -> list[dict[int, int]]:
        jobs = [(shape, of_part, seed, block) for of_part in self._split(chosen, kept)]
        return self._crew.call("rows_needed", jobs)

    def _split(self, ordinals: np.ndarray, column: np.ndarray) -> list[np.ndarray]:
        """A column of documents, part by part, in their order."""
        part = self._corpus.part(ordinals, self._count)
        return [column[part == i] for i in range(self._count)]


def _summed(rows: list[dict[int, int]]) -> dict[int, int]:
    return {length: sum(part[length] for part in rows) for length in rows[0]}
