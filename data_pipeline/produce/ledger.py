"""How often each document was used, and which blocks that came from: exactly once each, whatever was killed.

One OCDBT database (tensorstore) at DATASET/ledger:

    documents    {"digest", "documents"}: the documents that the ordinals stand for
    plan/<block> what the block was made of: seed, tokens per domain, [start, end) in the journal
    journal      int64 array of document ordinals, block after block, in the order in which they were chosen
    uses         uint32 `[documents]`
    applied      uint8 `[blocks]`: 1 where the block's documents are counted in `uses`

A block is written in three steps, and a crash after any of them loses and doubles nothing:

 1. `record`: its plan and its documents, in one transaction. A second attempt writes over the first one's place.
 2. shards, then the manifest by rename (maxlm/blocks/writer.py). From here on the block exists.
 3. `reconcile`: uses and applied, in one transaction. It runs before each block is chosen, so where a crash cut this
    step off, it is made up for before anything depends on it.

Skipped blocks (rollback --skip) give their documents' uses back by the same `reconcile`.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import tensorstore as ts

from data_pipeline.document import LEDGER
from maxlm.errors import DataError, naming_full_disk
from maxlm.journal import Journal
from maxlm.paths import PathLike, as_path, is_local

# Arrays are sparse: room that nobody wrote to takes no space.
_MOST_BLOCKS = 1 << 20
_MOST_USES = 1 << 44
_CHUNKS = {"uses": 1 << 16, "applied": 1 << 12, "journal": 1 << 16}


@dataclass(frozen=True)
class Plan:
    """What a block is made of. With the documents, the tokenizer and the journal it gives the block's bytes again."""

    seed: int
    budgets: tuple[int, ...]  # tokens per domain, in the order of dataset.json
    start: int  # first of the block's documents in the journal
    end: int


class Ledger:
    """The uses of a data set's documents. One process at a time may write (the producer holds a lock)."""

    def __init__(self, dataset: PathLike, digest: str, documents: int):
        """Opens the ledger, or begins one for these documents.

        Raises:
          DataError: the ledger belongs to other documents, or is damaged.
        """
        self.folder = as_path(dataset) / LEDGER
        self._documents = documents
        path = os.fspath(self.folder)
        base = f"file://{path}/" if is_local(path) else f"{path}/"
        self._kvstore = {"driver": "ocdbt", "base": base}
        with self._access():
            self._context = ts.Context()
            self._keys = ts.KvStore.open(self._kvstore, context=self._context).result()
            self._pin(digest, documents)
            self._uses = self._array("uses", "uint32", documents)
            self._applied = self._array("applied", "uint8", _MOST_BLOCKS)
            self._journal = self._array("journal", "int64", _MOST_USES)
            self._plans = self._read_plans()

    def uses(self) -> np.ndarray:
        """Uses of each document, uint32 `[documents]`."""
        with self._access():
            return np.asarray(self._uses.read().result())

    def applied(self) -> list[int]:
        """The blocks whose documents are counted in `uses`, ascending."""
        known = max(self._plans, default=-1) + 1
        with self._access():
            return np.flatnonzero(self._applied[:known].read().result()).tolist()

    def plan(self, block: int) -> Plan | None:
        return self._plans.get(block)

    def documents(self, block: int) -> np.ndarray:
        """The ordinals that `block` was made of, in the order in which they were chosen, int64 `[uses]`."""
        plan = self._plans[block]
        with self._access():
            return np.asarray(self._journal[plan.start : plan.end].read().result())

    def record(self, block: int, ordinals: np.ndarray, budgets: tuple[int, ...], seed: int) -> Plan:
        """Step 1: notes what `block` is about to be made of, and where in the journal that stands.

        The last block planned is planned over in place, so that a second attempt gives the same manifest.
        """
        before = self._plans.get(block)
        end = max((plan.end for plan in self._plans.values()), default=0)
        start = before.start if before is not None and before.end == end else end
        plan = Plan(seed, budgets, start, start + len(ordinals))
        with self._access(), ts.Transaction(atomic=True) as transaction:
            self._journal.with_transaction(transaction)[plan.start : plan.end].write(ordinals).result()
            self._keys.with_transaction(transaction)[_plan_key(block)] = json.dumps(asdict(plan)).encode()
        self._plans[block] = plan
        return plan

    def reconcile(self, finished: Callable[[int], bool], skipped: Collection[int]) -> dict[int, int]:
        """Step 3, for all blocks: counts each finished block's documents once, and those of skipped ones not at all.

        A block that was counted stays so when its files are removed: it may have been trained on, and when it is
        written again it takes the same documents.

        Args:
          finished: whether a block has a manifest.
          skipped: blocks that no training run uses.

        Returns:
          The blocks that changed: +1 where uses were added, -1 where they were given back.
        """
        counted = set(self.applied())
        changed = {}
        for block in sorted(self._plans):
            wanted = block not in skipped and (block in counted or finished(block))
            if wanted != (block in counted):
                changed[block] = 1 if wanted else -1
                self._apply(block, changed[block])
        return changed

    def _apply(self, block: int, sign: int) -> None:
        """Adds or gives back a block's uses and notes that, in one transaction."""
        ordinals, counts = np.unique(self.documents(block), return_counts=True)
        uses = self.uses().astype(np.int64)
        uses[ordinals] += sign * counts
        if uses.min(initial=0) < 0:
            raise DataError(f"{self.folder}: block {block} would give back uses that were never counted; damaged")
        with self._access(), ts.Transaction(atomic=True) as transaction:
            self._uses.with_transaction(transaction).write(uses.astype(np.uint32)).result()
            self._applied.with_transaction(transaction)[block] = np.uint8(sign > 0)

    def _pin(self, digest: str, documents: int) -> None:
        """Holds the ledger to the documents that it began with."""
        now = {"digest": digest, "documents": documents}
        raw = self._keys.read("documents").result().value
        if not raw:
            self._keys.write("documents", json.dumps(now).encode()).result()
        elif json.loads(raw) != now:
            began = json.loads(raw)
            raise DataError(
                f"{self.folder}: the documents changed since the first block was made ({began['documents']} then, "
                f"{documents} now, or others): bring them back, or remove ledger, blocks, validation and dataset.json "
                f"from {self.folder.parent} to begin anew"
            )

    def _array(self, name: str, dtype: str, size: int) -> ts.TensorStore:
        metadata = {
            "shape": [size],
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [_CHUNKS[name]]}},
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "zstd", "configuration": {"level": 3}},
            ],
        }
        spec = {"driver": "zarr3", "kvstore": {**self._kvstore, "path": f"{name}/"}, "metadata": metadata}
        return ts.open(spec, create=True, open=True, context=self._context).result()

    @contextmanager
    def _access(self) -> Iterator[None]:
        """Says what is wrong with the database in our words."""
        try:
            with naming_full_disk("the ledger", self.folder):
                yield
        except ValueError as error:  # tensorstore knows no other kind
            raise DataError(f"{self.folder}: damaged, or out of reach ({str(error).splitlines()[0]})") from error

    def _read_plans(self) -> dict[int, Plan]:
        plans = {}
        for key in self._keys.list(ts.KvStore.KeyRange("plan/", "plan0")).result():
            value = json.loads(self._keys[key])
            plans[int(key.split(b"/")[1])] = Plan(**{**value, "budgets": tuple(value["budgets"])})
        return plans


def _plan_key(block: int) -> str:
    return f"plan/{block:07d}"


def skipped_blocks(dataset: PathLike) -> set[int]:
    """Blocks that a training run skipped (DATASET/journal.jsonl) and that none has taken back.

    Raises:
      DataError: a skip without a block's number.
    """
    journal = Journal(as_path(dataset) / "journal.jsonl")
    skipped: set[tuple[int, str]] = set()
    for event in journal.read():
        if event["event"] not in ("skip", "unskip"):
            continue
        block, reader = event.get("block"), str(event.get("reader"))
        if not isinstance(block, int):
            raise DataError(f"{journal.path}: a skip without the number of a block: {event}")
        if event["event"] == "skip":
            skipped.add((block, reader))
        else:
            skipped.discard((block, reader))
    return {block for block, _ in skipped}
