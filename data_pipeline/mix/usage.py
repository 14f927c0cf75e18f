"""Which documents some blocks were made of, and how often each: a run's record of what it was trained on."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipeline.document import DOCUMENTS
from data_pipeline.mix.ledger import Ledger
from maxlm.errors import DataError, naming_full_disk
from maxlm.paths import PathLike, as_path

_COLUMNS = ["id", "source", "domain", "language"]
_ROWS = 1 << 16  # read at a time


def write_usage(dataset: PathLike, blocks: Sequence[int], file: PathLike) -> tuple[int, int]:
    """Writes a Parquet file with id, source, domain, language and uses of each document that `blocks` were made of.

    Returns:
      How many documents, and how many uses of them.

    Raises:
      DataError: no ledger, or one that knows nothing of a block; damaged documents.
    """
    ledger = Ledger.standing(dataset)
    if unknown := [block for block in blocks if ledger.plan(block) is None]:
        raise DataError(f"{ledger.folder}: no plan of block {unknown[0]}; known: {_span(ledger.planned())}")
    uses = np.zeros(ledger.documents_in_all, np.int64)
    for block in blocks:
        np.add.at(uses, ledger.documents(block), 1)
    schema = pa.schema([*((name, pa.string()) for name in _COLUMNS), ("uses", pa.int64())])
    begin = 0
    with naming_full_disk("the list of documents", file), pq.ParquetWriter(str(as_path(file)), schema) as writer:
        for path in sorted((as_path(dataset) / DOCUMENTS).glob("*.parquet")):  # ordinals count them in this order
            for batch in pq.ParquetFile(str(path)).iter_batches(_ROWS, columns=_COLUMNS):
                mine = uses[begin : begin + len(batch)]
                begin += len(batch)
                used = pa.Table.from_batches([batch]).filter(pa.array(mine > 0))
                columns = [used.column(name).cast(pa.string()) for name in _COLUMNS]
                writer.write_table(pa.table([*columns, pa.array(mine[mine > 0])], schema=schema))
    if begin != len(uses):
        raise DataError(
            f"{as_path(dataset) / DOCUMENTS}: {begin:,} documents, and the ledger was begun for {len(uses):,}"
        )
    return int((uses > 0).sum()), int(uses.sum())


def _span(blocks: Sequence[int]) -> str:
    return f"{blocks[0]} to {blocks[-1]}" if blocks else "none"
