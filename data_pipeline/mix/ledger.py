"""How often each document was used, and which blocks that came from: exactly once each, whatever was killed.

    DATASET/ledger/
      ledger.json            the documents that the ordinals stand for
      plans/<block>.json     what the block was made of: seed, stage, tokens by name, place in the journal
      journal/<block>-<digest>/   its documents in the order in which they were chosen (tensorstore)
      counted.json           which blocks are counted in which generation of the uses, and how many uses that is
      uses/<generation>/     uint16 for each document (tensorstore)

A block is written in three steps, and a crash after any of them loses and doubles nothing:

 1. `record`: its documents, then its plan, by rename. A second attempt takes the first one's place.
 2. shards, then the manifest by rename (maxlm/blocks/writer.py). From here on the block exists.
 3. `reconcile`: a new generation of the uses beside the old one, then counted.json, by rename, which names it and the
    blocks that it counts. It runs before each block is chosen, so where a crash cut this step off, it is made up for
    before anything depends on it. What a crash left of a generation or a journal that nothing names goes then too.

Skipped blocks (rollback --skip) give their documents' uses back by the same `reconcile`, blocks that are to be made
anew (--redraw) by `forget`. Uses are thus always those of the blocks counted, and can be counted anew from their
journals: `rebuild`.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np
from etils import epath

from data_pipeline.document import LEDGER
from data_pipeline.mix.uses import UsesArray, naming_access, open_array
from maxlm.blocks.reader import skips
from maxlm.config import freeze
from maxlm.errors import ConfigError, DataError, naming_full_disk
from maxlm.paths import PathLike, as_path, read_json, write_json

T = TypeVar("T")
_JOURNAL_CHUNK = 1 << 20
_READERS = 16  # plans read at a time: in a bucket each takes a while


@dataclass(frozen=True)
class Plan:
    """What a block is made of. With the documents, the tokenizer and the journal it gives the block's bytes again."""

    seed: int
    budgets: tuple[int, ...]  # tokens by name, in the order of the names of `by`
    start: int  # first of the block's documents in the journal of all blocks
    end: int
    by: str = "domain"
    stage: str = "main"
    digest: str = ""  # of the documents
    draw: int = 0  # how often the block had been asked to be made anew when it was chosen for


@dataclass(frozen=True)
class Counted:
    """counted.json: which blocks the uses are those of."""

    generation: int = 0  # 0: nothing was ever used
    blocks: tuple[int, ...] = ()
    uses: int = 0  # all together


class Ledger:
    """The uses of a data set's documents. One process at a time may write (the producer holds a lock)."""

    def __init__(self, dataset: PathLike, digest: str, documents: int):
        """Opens the ledger, or begins one for these documents.

        Raises:
          DataError: the ledger belongs to other documents, or is damaged.
        """
        self.folder, self.documents_in_all = as_path(dataset) / LEDGER, documents
        self._pin(digest, documents)
        self._plans = self._read_plans()
        self._counted, path = Counted(), self.folder / "counted.json"
        if path.exists():
            self._counted = _read(Counted, path)
        self._array = self._open_uses()

    @classmethod
    def standing(cls, dataset: PathLike) -> "Ledger":
        """The ledger of a data set, for whatever documents it was begun.

        Raises:
          DataError: there is none.
        """
        path = as_path(dataset) / LEDGER / "ledger.json"
        if not path.exists():
            raise DataError(f"{path.parent}: no ledger; maxlm-data produce begins one")
        found = read_json(path, "ledger")
        return cls(dataset, str(found["digest"]), int(found["documents"]))

    def uses(self, begin: int = 0, end: int | None = None) -> np.ndarray:
        """Uses of the documents [begin, end), uint16."""
        end = self.documents_in_all if end is None else end
        return np.zeros(end - begin, np.uint16) if self._array is None else self._array.read(begin, end)

    def applied(self) -> list[int]:
        """The blocks whose documents are counted in `uses`, ascending."""
        return list(self._counted.blocks)

    def planned(self) -> list[int]:
        """The blocks that were ever chosen for, ascending."""
        return sorted(self._plans)

    def plan(self, block: int) -> Plan | None:
        return self._plans.get(block)

    def documents(self, block: int) -> np.ndarray:
        """The ordinals that `block` was made of, in the order in which they were chosen, int64 `[uses]`.

        Raises:
          DataError: they are damaged.
        """
        plan = self._plans[block]
        folder = self._journal(block, plan.digest)
        with naming_access(folder):
            found = np.asarray(open_array(folder, self._dtype, 0, 1, create=False).read().result())
        if _digest(found) != plan.digest:
            raise DataError(f"{folder}: not the documents that block {block} was made of; damaged")
        return found.astype(np.int64)

    def before(self, block: int, tokens: int) -> list[np.ndarray]:
        """The documents of the counted blocks right before `block`, latest first, that hold `tokens` tokens or more."""
        found = []
        for number in reversed([number for number in self._counted.blocks if number < block]):
            if tokens <= 0:
                break
            found.append(self.documents(number))
            tokens -= sum(self._plans[number].budgets)
        return found

    def record(
        self,
        block: int,
        ordinals: np.ndarray,
        budgets: Sequence[int],
        seed: int,
        by: str = "domain",
        stage: str = "main",
        draw: int = 0,
    ) -> Plan:
        """Step 1: notes what `block` is about to be made of, and where in the journal that stands.

        The last block planned is planned over in place, so that a second attempt gives the same manifest.
        """
        before = self._plans.get(block)
        end = max((plan.end for plan in self._plans.values()), default=0)
        start = before.start if before is not None and before.end == end else end
        ordinals = ordinals.astype(self._dtype)
        plan = Plan(seed, tuple(budgets), start, start + len(ordinals), by, stage, _digest(ordinals), draw)
        folder = self._journal(block, plan.digest)
        if before is None or before.digest != plan.digest:  # what a plan names is never written over
            with naming_access(self.folder):
                open_array(folder, self._dtype, len(ordinals), _JOURNAL_CHUNK, create=True).write(ordinals).result()
        with naming_full_disk("the ledger", self.folder):
            (self.folder / "plans").mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "plans" / f"{block:07d}.json", asdict(plan))
        self._plans[block] = plan
        for left in folder.parent.glob(f"{block:07d}-*"):  # of attempts before
            if left.name != folder.name:
                left.rmtree()
        return plan

    def forget(self, block: int) -> None:
        """Gives a block's uses back and drops its plan and journal; its files are gone already."""
        if block in self._counted.blocks:
            self._apply(block, -1)
        (self.folder / "plans" / f"{block:07d}.json").unlink(missing_ok=True)
        del self._plans[block]
        for left in (self.folder / "journal").glob(f"{block:07d}-*"):
            left.rmtree()

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
        counted = set(self._counted.blocks)
        changed = {}
        for block in self.planned():
            wanted = block not in skipped and (block in counted or finished(block))
            if wanted != (block in counted):
                changed[block] = 1 if wanted else -1
                self._apply(block, changed[block])
        return changed

    def rebuild(self) -> int:
        """Counts the uses anew from the journals of the counted blocks; returns how many they are."""
        blocks = self._counted.blocks
        self._array, self._counted = None, replace(self._counted, uses=0)
        if not blocks:
            self._counted = Counted()
        self._publish(blocks, [(block, 1) for block in blocks])
        return self._counted.uses

    def check_uses(self) -> None:
        """Raises DataError unless there are as many uses as the counted blocks' plans say."""
        planned = sum(self._plans[block].end - self._plans[block].start for block in self._counted.blocks)
        held = 0 if self._array is None else self._array.total()
        if not held == planned == self._counted.uses:
            raise DataError(
                f"{self.folder}: {held:,} uses are counted, and the {len(self._counted.blocks):,} blocks that count "
                f"have {planned:,}: damaged; `maxlm-data ledger --rebuild` counts them anew from the journal"
            )

    def _apply(self, block: int, sign: int) -> None:
        """Adds or gives back a block's uses and notes that, in one step."""
        blocks = {*self._counted.blocks, block} if sign > 0 else {*self._counted.blocks} - {block}
        self._publish(tuple(sorted(blocks)), [(block, sign)])

    def _publish(self, blocks: tuple[int, ...], changes: Sequence[tuple[int, int]]) -> None:
        """Adds or gives back the uses of some blocks, then says that the result counts, and for which `blocks`."""
        array, generation, uses = self._array, self._counted.generation, self._counted.uses
        for block, sign in changes:
            ordinals, counts = np.unique(self.documents(block), return_counts=True)
            generation, uses = generation + 1, uses + sign * int(counts.sum())
            fresh = UsesArray(self._generation(generation), self.documents_in_all, create=True)
            fresh.fill(array, ordinals, sign * counts)
            array = fresh
        counted = Counted(generation, blocks, uses)
        with naming_full_disk("the ledger", self.folder):
            write_json(self.folder / "counted.json", asdict(counted))
        self._counted, self._array = counted, array
        self._tidy()

    def _open_uses(self) -> UsesArray | None:
        self._tidy()
        if not self._counted.generation:
            return None
        return UsesArray(self._generation(self._counted.generation), self.documents_in_all)

    def _tidy(self) -> None:
        """Removes generations that do not count."""
        folder = self.folder / "uses"
        for path in folder.iterdir() if folder.exists() else ():
            if path.name != self._generation(self._counted.generation).name:
                path.rmtree()

    def _generation(self, number: int) -> epath.Path:
        return self.folder / "uses" / f"{number:08d}"

    def _journal(self, block: int, digest: str) -> epath.Path:
        return self.folder / "journal" / f"{block:07d}-{digest[:12]}"

    @property
    def _dtype(self) -> type:
        return np.uint32 if self.documents_in_all <= 1 << 32 else np.uint64

    def _pin(self, digest: str, documents: int) -> None:
        """Holds the ledger to the documents that it began with."""
        path, now = self.folder / "ledger.json", {"digest": digest, "documents": documents}
        if not path.exists():
            with naming_full_disk("the ledger", self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_json(path, now)
            return
        began = read_json(path, "ledger")
        if began != now:
            raise DataError(
                f"{self.folder}: the documents changed since the first block was made ({began.get('documents')} then, "
                f"{documents} now, or others): bring them back, or remove ledger, blocks, validation and dataset.json "
                f"from {self.folder.parent} to begin anew"
            )

    def _read_plans(self) -> dict[int, Plan]:
        folder = self.folder / "plans"
        paths = sorted(folder.glob("*.json")) if folder.exists() else []
        with ThreadPoolExecutor(_READERS) as pool:
            plans = list(pool.map(lambda path: _read(Plan, path), paths))
        return {int(path.stem): plan for path, plan in zip(paths, plans, strict=True)}


def _read(kind: type[T], path: PathLike) -> T:
    try:
        return freeze(kind, read_json(path, "ledger"), "ledger")
    except ConfigError as error:
        raise DataError(f"{path}: {error}; damaged") from error


def _digest(ordinals: np.ndarray) -> str:
    return hashlib.sha256(ordinals.tobytes()).hexdigest()


def skipped_blocks(dataset: PathLike) -> set[int]:
    """Blocks that a training run skipped (DATASET/journal.jsonl) and that none has taken back.

    Raises:
      DataError: a skip without a block's number.
    """
    return {block for block, _ in skips(dataset)}
