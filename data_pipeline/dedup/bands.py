"""Which documents are worth comparing: signatures are cut into bands of rows, and two that share a band are candidates.

At similarity s a pair becomes one with probability 1 - (1 - s^rows)^bands (Leskovec, Rajaraman, Ullman: Mining of
Massive Datasets, chapter 3).
"""

from dataclasses import dataclass
from functools import cache

from datasketch import MinHashLSH

from data_pipeline import engine
from maxlm.paths import PathLike, as_path


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: `count` bands of `rows` values each."""

    count: int
    rows: int

    def probability(self, similarity: float) -> float:
        """The chance that two documents of this Jaccard similarity become candidates."""
        return 1 - (1 - similarity**self.rows) ** self.count


@cache
def choose_bands(threshold: float, num_perm: int) -> Bands:
    """The cut with the least sum of expected false positives below `threshold` and false negatives above it.

    datasketch works it out. Misses weigh more, since a false candidate costs one comparison and a missed one stays.
    """
    lsh = MinHashLSH(threshold=threshold, num_perm=num_perm, weights=(0.1, 0.9))
    return Bands(lsh.b, lsh.r)


def documents_sharing(column: str, signatures: PathLike, runner: str) -> list[list[int]]:
    """Groups of the ordinals of documents that share a value of `column` (one of its values, where it holds lists).

    Groups are sorted and told once, whatever order the engine finds them in.
    """
    daft = engine.daft_session(runner)
    frame = daft.read_parquet(f"{as_path(signatures)}/part-*.parquet").select("ordinal", column)
    if frame.schema()[column].dtype.is_list():
        frame = frame.explode(column)
    frame = frame.where(daft.col(column).not_null()).groupby(column)
    shared = frame.agg(daft.col("ordinal").list_agg(), daft.col("ordinal").count().alias("count"))
    found = shared.where(daft.col("count") > 1).to_arrow()["ordinal"].to_pylist()
    return sorted(map(list, {tuple(sorted(group)) for group in found}))
