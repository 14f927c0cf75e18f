"""From blocks to batches: batch i of a block is a pure function of (seed, block, i), so resuming needs no seeking."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import grain
import jax
import numpy as np

from maxlm.blocks.format import Batch, RowFormat, Rows, padding_rows, to_batch
from maxlm.blocks.reader import BlockStore, Records
from maxlm.errors import DataError

_READ_AHEAD = 4  # batches decoded in advance; two threads keep any step of more than a millisecond fed
_POLL_S = 0.2
_FIRST_TELL_S, _TELL_S = 3.0, 60.0  # how soon, and how often, a wait for a block is told


def row_order(rows: int, seed: int, block: int) -> np.ndarray:
    """The order in which a block's rows are read, a permutation, int64 `[rows]`."""
    key = np.array([seed % 2**64, block], np.uint64)  # a plain list would become float64 from seed 2**63 up
    return np.random.Generator(np.random.Philox(key=key)).permutation(rows)


class BlockBatches:
    """Random access to one block's batches, for this process: its share of the rows of each global batch.

    A last batch that the rows do not fill is filled up with empty rows, so that every row is read once.
    """

    def __init__(self, source: Records, row_format: RowFormat, order: np.ndarray, batch: int, part: slice):
        self._source, self._format, self._order, self._batch, self._part = source, row_format, order, batch, part

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch)

    def __getitem__(self, index: int) -> Batch:
        index = range(len(self))[index]
        places = np.arange(index * self._batch, (index + 1) * self._batch)[self._part]
        chosen = self._order[places[places < len(self._order)]]
        empty = padding_rows(len(places) - len(chosen), self._format.row_tokens)
        if not len(chosen):
            return to_batch(empty)
        rows = self._format.decode(self._source.__getitems__(chosen.tolist()))
        if len(chosen) < len(places):
            rows = Rows(*(np.concatenate(pair) for pair in zip(rows, empty, strict=True)))
        return to_batch(rows)


def process_part(batch: int) -> slice:
    """The rows of a global batch that this process reads."""
    share = batch // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


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

    def waited_share(self) -> float:
        """Share of the time since the last call for which the consumer stood still."""
        now = time.perf_counter()
        share = self.waited_s / (now - self._started)
        self.waited_s, self._started = 0.0, now
        return share

    def open(self, block: int) -> BlockBatches:
        """Waits until `block` is finished and opens it.

        Raises:
          DataError: damaged, of another tokenizer, or not finished within `wait_s` seconds.
        """
        started = time.perf_counter()
        deadline, told = started + self._wait_s, started - _TELL_S + _FIRST_TELL_S
        while not self.store.has(block):
            if time.perf_counter() > told + _TELL_S:
                told = time.perf_counter()
                self._say(f"waiting for block {block}: {self.store.folder(block)} is not finished")
            if time.perf_counter() > deadline:
                raise DataError(
                    f"{self.store.folder(block)}: not finished after {self._wait_s:.0f} s; is the data process "
                    "running (maxlm-data produce)? config.data.wait_s sets how long to wait"
                )
            time.sleep(_POLL_S)
        future = self._opening.pop(block, None) or self._pool.submit(self._open, block)
        batches = future.result()
        self.waited_s += time.perf_counter() - started
        return batches

    def prepare(self, block: int) -> None:
        """Begins to verify and open a block in the background if it is finished."""
        if block not in self._opening and self.store.has(block):
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
        order = row_order(manifest.rows, self._seed, block)
        source = self.store.source(block)
        return BlockBatches(source, self.store.info.row_format, order, self._batch, process_part(self._batch))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
