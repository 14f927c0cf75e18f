"""Holds the ledger against the blocks that stand, and shows what it says."""

import numpy as np
from etils import epath
from rich.table import Table

from data_pipeline.document import BLOCKS
from data_pipeline.mix.ledger import Ledger
from maxlm.blocks.reader import BlockStore
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, exclusive

_TAKEN = "{}: a producer is at work on this data set; stop it before the ledger is counted anew"
_LEVELS = 8  # uses that have a row of their own


def check(ledger: Ledger, dataset: PathLike) -> None:
    """Holds plans, manifests and uses against each other.

    Raises:
      DataError: blocks that the ledger knows nothing of, or whose place in the journal is another; or uses that are not
        those of the counted blocks.
    """
    if (as_path(dataset) / "dataset.json").exists():
        store = BlockStore(dataset)
        for block in store.finished():
            _check_block(ledger, store, block)
    ledger.check_uses()


def _check_block(ledger: Ledger, store: BlockStore, block: int) -> None:
    plan, manifest = ledger.plan(block), store.manifest(block)
    way = (
        f"bring back the {ledger.folder.name} that was there when it was made, or remove {store.folder(block)} and all "
        "blocks after it, to make them again"
    )
    if plan is None:
        raise DataError(f"{store.folder(block)}: {ledger.folder} has no plan of block {block}: {way}")
    if manifest.selection != (plan.start, plan.end):
        raise DataError(
            f"{store.folder(block)}: its manifest says documents {_span(manifest.selection)} of the journal, and "
            f"{ledger.folder} says {_span((plan.start, plan.end))}: {way}"
        )


def _span(bounds: tuple[int, ...]) -> str:
    return "–".join(f"{bound:,}" for bound in bounds)


def rebuild(dataset: PathLike) -> str:
    """Counts the uses anew from the journal; returns what was found.

    Raises:
      UserError: a producer is at work.
      DataError: there is no ledger, or its journal is damaged.
    """
    with exclusive(as_path(dataset) / "producer.lock", _TAKEN.format(dataset)):
        ledger = Ledger.standing(dataset)
        uses = ledger.rebuild()
        check(ledger, dataset)
    return f"{uses:,} uses in {len(ledger.applied()):,} blocks counted anew"


def table(dataset: PathLike) -> Table:
    """How many documents were used how often, after everything was held against each other.

    Raises:
      DataError: as `check`, or there is no ledger.
    """
    ledger = Ledger.standing(dataset)
    check(ledger, dataset)
    counts = np.zeros(1, np.int64)
    for begin in range(0, ledger.documents_in_all, 1 << 20):
        found = np.bincount(ledger.uses(begin, min(begin + (1 << 20), ledger.documents_in_all)))
        counts = np.pad(counts, (0, max(0, len(found) - len(counts))))
        counts[: len(found)] += found
    blocks, size = ledger.applied(), _size(ledger.folder)
    shown = Table("uses", "documents", "share", title=str(ledger.folder))
    for uses in range(min(len(counts), _LEVELS)):
        shown.add_row(f"{uses}", f"{counts[uses]:,}", f"{counts[uses] / counts.sum():.1%}")
    if len(counts) > _LEVELS:
        more = int(counts[_LEVELS:].sum())
        shown.add_row(f"{_LEVELS}–{len(counts) - 1:,}", f"{more:,}", f"{more / counts.sum():.1%}")
    shown.caption = (
        f"{len(blocks):,} {BLOCKS} counted, {ledger.documents_in_all:,} documents, {size:,} bytes "
        f"({size / ledger.documents_in_all:.2f} a document)"
    )
    return shown


def _size(folder: epath.Path) -> int:
    """Bytes of all files below a folder."""
    return sum(_size(path) if path.is_dir() else path.stat().length for path in folder.iterdir())
