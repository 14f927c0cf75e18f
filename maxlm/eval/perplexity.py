"""Held-out loss and bits per byte, per domain, beside a unigram model of the same tokens."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from maxlm.blocks.format import Batch, to_batch
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DataError
from maxlm.eval.pairs import HeldOutPairs
from maxlm.models.decoder import DecoderFunction
from maxlm.parallel.mesh import batch_sharding
from maxlm.train.config import Config
from maxlm.train.loader import BlockBatches, Bucket, row_order
from maxlm.train.preference import Answers, answers
from maxlm.train.step import make_eval_step

VALIDATION = "validation"  # folder of a data set that holds its held-out block, in the format of all blocks
POSITION = f"{VALIDATION}/position/"  # before the number of a position, among the figures of an evaluation
_CHUNK_ROWS = 256
_answers = jax.jit(answers)


@dataclass
class DomainSums:
    """Sums over the targets of each domain, `[num_domains]`."""

    nll: np.ndarray  # nats
    tokens: np.ndarray
    bytes: np.ndarray  # UTF-8 bytes that the targets stand for

    @classmethod
    def zeros(cls, num_domains: int) -> "DomainSums":
        return cls(*(np.zeros(num_domains) for _ in range(3)))

    def add(self, batch: Batch, nll_BT: np.ndarray, token_bytes_V: np.ndarray) -> None:
        count = len(self.nll)
        counted = batch.weights > 0
        domains = batch.domains[counted]
        self.nll += np.bincount(domains, nll_BT[counted].astype(np.float64), count)
        self.tokens += np.bincount(domains, minlength=count)
        self.bytes += np.bincount(domains, token_bytes_V[batch.targets[counted]], count)

    def scalars(self, domains: tuple[str, ...], prefix: str) -> dict[str, float]:
        """``prefix/loss``, ``prefix/bpb`` and the same for each domain that has tokens. Loss in nats per token."""
        values = _loss_and_bpb(prefix, "", self.nll.sum(), self.tokens.sum(), self.bytes.sum())
        for i, name in enumerate(domains):
            if self.tokens[i]:
                values |= _loss_and_bpb(prefix, f"/{name}", self.nll[i], self.tokens[i], self.bytes[i])
        return values


def _loss_and_bpb(prefix: str, name: str, nll: float, tokens: float, num_bytes: float) -> dict[str, float]:
    values = {f"{prefix}/loss{name}": float(nll / tokens)}
    if num_bytes:
        values[f"{prefix}/bpb{name}"] = float(nll / math.log(2) / num_bytes)
    return values


@dataclass
class PositionSums:
    """Sums over targets by how many tokens of their document stand before them: 1, 2 and 3, 4 to 7, …"""

    nll: np.ndarray  # nats
    tokens: np.ndarray

    @classmethod
    def zeros(cls, length: int) -> "PositionSums":
        return cls(*(np.zeros(length.bit_length() + 1) for _ in range(2)))

    def add(self, batch: Batch, nll_BT: np.ndarray) -> None:
        counted = batch.weights > 0
        # A target stands one place behind its input, whose position counts from 0; 0 before the first is no target.
        bucket = np.frexp(batch.positions[counted] + 1)[1]
        self.nll += np.bincount(bucket, nll_BT[counted].astype(np.float64), len(self.nll))
        self.tokens += np.bincount(bucket, minlength=len(self.nll))

    def scalars(self) -> dict[str, float]:
        """``validation/position/N``: loss in nats per token of those with N up to 2N - 1 tokens before them."""
        there = np.flatnonzero(self.tokens)
        return {f"{POSITION}{1 << (i - 1)}": float(self.nll[i] / self.tokens[i]) for i in there}


class Validation:
    """The held-out block, evaluated batch by batch."""

    def __init__(
        self,
        config: Config,
        store: BlockStore,
        model: DecoderFunction,
        mesh: Mesh,
        token_bytes_V: np.ndarray,
        length: int = 0,
    ):
        """`length`: of the rows, as the stage trains on; 0: the data set's seq_len."""
        self._store, self._token_bytes_V = store, token_bytes_V
        self._held_out = BlockStore(store.dataset, VALIDATION)
        if not self._held_out.has(0):
            raise DataError(
                f"{self._held_out.folder(0)}: the data set holds nothing out (it takes two documents of a domain, and "
                "config.produce.holdout above 0); --config.train.eval_every_blocks=0 trains without evaluation"
            )
        info, length = store.info, length or store.info.seq_len
        self._length = length
        block = self._block_of(length)
        manifest, batch = self._held_out.verify(block), info.batch_of(length, config.train.batch)
        rows = config.train.eval_rows * (info.seq_len // length)  # as many tokens of each length
        rows = min(manifest.rows, rows or manifest.rows)
        order = row_order(manifest.rows, 0, 0)[:rows]  # always the same rows, whatever the run's seed
        # Every process reads whole batches here: they are small, and the sums are then the same everywhere.
        held_out = Bucket(self._held_out.source(block, length), info.format_of(length), order, batch)
        self._batches = BlockBatches([held_out], seed=0, block=0)
        self._pairs = HeldOutPairs(config.train) if manifest.pairs else None
        self._step, self._sharding = make_eval_step(model, mesh, config.train), batch_sharding(mesh)

    def _block_of(self, length: int) -> int:
        """The held-out documents in rows of `length`."""
        for block in self._held_out.finished():
            if length in self._held_out.manifest(block).rows_by_length:
                return block
        raise DataError(
            f"{self._held_out.folder(0)}: no held-out block in rows of {length}; produce the data set again, or train "
            "with --config.train.eval_every_blocks=0"
        )

    def __call__(self, params: dict[str, Any], reference: dict[str, Any] | None = None) -> dict[str, float]:
        """Loss in nats per token and bits per byte, over all and per domain; the loss by position; of pairs, the order.

        `reference`: the parameters that a loss of pairs compares with.
        """
        sums, positions = DomainSums.zeros(len(self._store.info.domains)), PositionSums.zeros(self._length)
        found: list[Answers] = []
        for batch, nll_BT in self._losses(params):
            sums.add(batch, nll_BT, self._token_bytes_V)
            positions.add(batch, nll_BT)
            if self._pairs:
                found.append(_answers(nll_BT, batch))
        values = sums.scalars(self._store.info.domains, VALIDATION) | positions.scalars()
        if not self._pairs:
            return values
        compared = None if reference is None else (_answers(nll, batch) for batch, nll in self._losses(reference))
        return values | self._pairs.scalars(found, compared)

    def _losses(self, params: dict[str, Any]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Every batch, and the cross-entropy of its tokens."""
        for index in range(len(self._batches)):
            batch = self._batches[index]
            yield batch, np.asarray(self._step(params, jax.device_put(batch, self._sharding)))

    def unigram(self, store: BlockStore, blocks: list[int]) -> dict[str, float]:
        """The loss of a unigram model of each domain (add-one smoothed), counted on these blocks of `store`."""
        info = self._store.info
        counts = np.ones((len(info.domains), info.vocab_size))
        for block in blocks:
            for batch in _training_batches(store, block):
                counted = batch.weights > 0
                np.add.at(counts, (batch.domains[counted], batch.targets[counted]), 1)
        nll = -np.log(counts / counts.sum(axis=1, keepdims=True))
        sums = DomainSums.zeros(len(info.domains))
        for index in range(len(self._batches)):
            batch = self._batches[index]
            domains = np.minimum(batch.domains, len(info.domains) - 1)  # padding counts nowhere
            sums.add(batch, nll[domains, batch.targets], self._token_bytes_V)
        return sums.scalars(info.domains, "unigram")


def _training_batches(store: BlockStore, block: int) -> Iterator[Batch]:
    for length in store.manifest(block).rows_by_length:
        source, row_format = store.source(block, length), store.info.format_of(length)
        for start in range(0, len(source), _CHUNK_ROWS):
            places = list(range(start, min(start + _CHUNK_ROWS, len(source))))
            yield to_batch(row_format.decode(source.__getitems__(places)))
