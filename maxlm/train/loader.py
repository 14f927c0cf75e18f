"""From blocks to batches: batch i of a block is a pure function of (seed, block, i), so resuming needs no seeking."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import grain
import jax
import numpy as np

from maxlm.blocks.format import Batch, RowFormat, Rows, padding_rows, to_batch
from maxlm.blocks.manifest import Manifest
from maxlm.blocks.reader import BlockStore, Records
from maxlm.errors import DamagedBlockError, DataError

Part = tuple[int, int]  # the i-th of n equal shares of every batch
_READ_AHEAD = 4  # batches decoded in advance; two threads keep any step of more than a millisecond fed
_POLL_S = 0.2
_FIRST_TELL_S, _TELL_S = 3.0, 60.0  # how soon, and how often, a wait for a block is told


def row_order(rows: int, seed: int, block: int, length: int = 0) -> np.ndarray:
    """The order in which a block's rows are read, a permutation, int64 `[rows]`. `length`: of rows shorter than usual.

    Every length has an order of its own.
    """
    return _generator(seed, block, length).permutation(rows)


def batch_order(batches: Sequence[int], seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The order in which batches of rows of several lengths are read: whole batches, mixed.

    Args:
      batches: how many there are of each length.

    Returns:
      Of each batch its length's place in `batches`, and its number among that length's, both int64 `[sum]`.
    """
    which = np.repeat(np.arange(len(batches)), batches)
    number = np.concatenate([np.arange(count) for count in [0, *batches]])
    if len(batches) < 2:
        return which, number
    order = _generator(seed, block, 1).permutation(len(which))  # no row is 1 token long
    return which[order], number[order]


def _generator(seed: int, block: int, stream: int) -> np.random.Generator:
    key = np.array([seed % 2**64, block], np.uint64)  # a plain list would become float64 from seed 2**63 up
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, stream]))


@dataclass(frozen=True)
class Bucket:
    """A block's rows of one length, in the order in which they are read."""

    source: Records
    row_format: RowFormat
    order: np.ndarray  # int64 `[rows]`
    batch: int  # rows in a global batch

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch)

    def read(self, number: int, part: Part) -> Batch:
        """A part of batch `number`. What the rows do not fill is filled up with empty ones."""
        share, (index, _) = self.batch // part[1], part
        first = number * self.batch + index * share
        chosen = self.order[first : min(first + share, (number + 1) * self.batch)]
        empty = padding_rows(share - len(chosen), self.row_format.row_tokens)
        if not len(chosen):
            return to_batch(empty)
        rows = self.row_format.decode(self.source.__getitems__(chosen.tolist()))
        if len(chosen) < share:
            rows = Rows(*(np.concatenate(pair) for pair in zip(rows, empty, strict=True)))
        return to_batch(rows)


class BlockBatches:
    """Random access to one block's batches, or to a process's part of each: its share of the rows.

    All batches hold the same number of tokens: those of short rows hold more rows. Every row is read once.
    """

    def __init__(self, buckets: Sequence[Bucket], seed: int, block: int, part: Part = (0, 1)):
        self._buckets, self._part = list(buckets), part
        self._which, self._number = batch_order([len(bucket) for bucket in buckets], seed, block)

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int) -> Batch:
        index = range(len(self))[index]
        return self._buckets[self._which[index]].read(int(self._number[index]), self._part)


def open_block(store: BlockStore, manifest: Manifest, *, batch: int, seed: int, part: Part = (0, 1)) -> BlockBatches:
    """The batches of a block: `batch` rows of seq_len, or as many shorter ones as hold the same tokens.

    Raises:
      DataError: a shard is missing or damaged.
    """
    info, buckets = store.info, []
    for length, rows in manifest.rows_by_length.items():
        source = store.source(manifest.block, length)  # first: it holds that there are so many rows
        order = row_order(rows, seed, manifest.block, length if length < info.seq_len else 0)
        buckets.append(Bucket(source, info.format_of(length), order, info.batch_of(length, batch)))
    return BlockBatches(buckets, seed, manifest.block, part)


class BlockFeed:
    """Opens blocks as the data process finishes them, the next one in the background.

    Attributes:
      waited_s: seconds for which the consumer stood still since `waited_share` was last asked.
    """

    def __init__(
        self,
        store: BlockStore,
        *,
        batch: int,
        seed: int,
        verify: bool,
        wait_s: float,
        say: Callable[[str], None] = lambda text: None,
    ):
        """`wait_s`: how long to wait for a block. `say`: is told when there is something to wait for."""
        self.store, self.waited_s, self._started = store, 0.0, time.perf_counter()
        self._batch, self._seed, self._verify, self._wait_s = batch, seed, verify, wait_s
        self._say = say
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="next-block")
        self._opening: dict[int, Future[BlockBatches]] = {}
        self._damaged: dict[int, str] = {}  # blocks that were set aside, and why

    def waited_share(self) -> float:
        """Share of the time since the last call for which the consumer stood still."""
        now = time.perf_counter()
        share = self.waited_s / (now - self._started)
        self.waited_s, self._started = 0.0, now
        return share

    def open(self, block: int) -> BlockBatches:
        """Waits until `block` is finished and opens it. A damaged one is set aside, and made again by the data process.

        Raises:
          DataError: of another tokenizer, or not finished, whole, within `wait_s` seconds.
        """
        started = time.perf_counter()
        deadline = started + self._wait_s
        while True:
            self._wait_for(block, deadline)
            future = self._opening.pop(block, None) or self._pool.submit(self._open, block)
            try:
                batches = future.result()
            except DamagedBlockError as error:
                self._set_aside(block, error)
                continue
            self.waited_s += time.perf_counter() - started
            return batches

    def _wait_for(self, block: int, deadline: float) -> None:
        told = time.perf_counter() - _TELL_S + _FIRST_TELL_S
        while not self.store.ready(block):
            if time.perf_counter() > told + _TELL_S:
                told = time.perf_counter()
                self._say(f"waiting for block {block}: {self.store.folder(block)} is not finished")
            if time.perf_counter() > deadline:
                damaged = f"{self._damaged[block]}; " if block in self._damaged else ""
                raise DataError(
                    f"{damaged}{self.store.folder(block)}: not finished after {self._wait_s:.0f} s; is the data "
                    "process running (maxlm-data produce)? config.data.wait_s sets how long to wait"
                )
            time.sleep(_POLL_S)

    def _set_aside(self, block: int, error: DamagedBlockError) -> None:
        """Takes a damaged block out of the data process's sight, which then makes it again, of the same documents.

        All processes of a group find the damage, and wait; the first one moves the folder.
        """
        self._damaged[block] = str(error)
        if jax.process_index() == 0:
            aside = self.store.set_aside(block)
            self._say(f"WARNING: {error}; set aside as {aside}: the data process makes it again")
        time.sleep(_POLL_S)

    def prepare(self, block: int) -> None:
        """Begins to verify and open a block in the background if it is finished."""
        if block not in self._opening and self.store.ready(block):
            self._opening[block] = self._pool.submit(self._open, block)

    def batches(self, block_batches: BlockBatches, start: int) -> Iterator[Batch]:
        """The block's batches from index `start` on, read ahead by grain's threads."""
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=_READ_AHEAD)
        dataset = grain.MapDataset.source(block_batches)[start:].to_iter_dataset(options)
        iterator = iter(dataset)
        while True:
            started = time.perf_counter()
            batch = next(iterator, None)
            self.waited_s += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _open(self, block: int) -> BlockBatches:
        manifest = self.store.verify(block) if self._verify else self.store.manifest(block)
        part = (jax.process_index(), jax.process_count())
        return open_block(self.store, manifest, batch=self._batch, seed=self._seed, part=part)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
