"""What a document is compared by: a digest of its normalised text, and a MinHash signature cut into buckets.

Broder 1997: the share of equal places in two documents' MinHash signatures estimates the Jaccard similarity of their
sets of shingles (runs of n words). Signatures come from the engine's Rust code, which splits at single spaces; so it
is handed words joined by them, each Chinese character as a word of its own.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from data_pipeline import engine, recipe
from data_pipeline.config import DataConfig, DedupConfig
from data_pipeline.dedup.bands import Bands, choose_bands
from data_pipeline.document import INGESTED
from data_pipeline.operators.words import split_words
from maxlm.paths import PathLike, as_path

SIGNATURES = "corpus/dedup/signatures"
# `ordinal`: number of the partition times 2**32, plus the row. `digest`: null for a document that the recipe dropped;
# it takes no part. `buckets`: two documents that share one are worth comparing.
SIGNATURE = pa.schema([("ordinal", pa.int64()), ("digest", pa.string()), ("buckets", pa.list_(pa.uint64()))])
_VERSION = 1


def run(config: DataConfig, dataset: PathLike) -> None:
    """Writes DATASET/corpus/dedup/signatures for all documents that the recipe kept.

    Raises:
      DataError: ingest or clean hasn't been run, or not with this config.
    """
    dataset = as_path(dataset)
    inputs = [dataset / INGESTED, dataset / recipe.CLEANED]
    names = engine.require(inputs[0], "ingest")
    engine.require(inputs[1], "clean", recipe.stage_digest(config, dataset))
    stage = engine.Stage("signatures", (dataset / SIGNATURES,), stage_digest(config, dataset), config.runner)
    jobs = {name: (number, *(str(folder / name) for folder in inputs)) for number, name in enumerate(names)}
    size_bytes = sum((inputs[0] / name).stat().length for name in names)
    engine.make_partitions(stage, partial(_sign_partition, config.dedup), jobs, size_bytes)


def _sign_partition(config: DedupConfig, job: tuple[int, str, str]) -> tuple[pa.Table]:
    number, documents, cleaned = job
    return (sign(config, number, engine.read_partition(documents), engine.read_partition(cleaned)),)


def stage_digest(config: DataConfig, dataset: PathLike) -> str:
    """What signatures depend on: the parameters, the documents, and the recipe's edits and removals."""
    parameters = [_VERSION, config.dedup.threshold, config.dedup.num_perm, config.dedup.ngram, config.dedup.seed]
    return engine.digest("signatures", parameters, [as_path(dataset) / INGESTED, as_path(dataset) / recipe.CLEANED])


def sign(config: DedupConfig, partition: int, documents: pa.Table, cleaned: pa.Table) -> pa.Table:
    """The signatures of the documents of a partition, given what the recipe said of them."""
    words = [None if text is None else normal_words(text) for text in kept_texts(documents, cleaned)]
    long_enough = [i for i, unit in enumerate(words) if unit is not None and len(unit) >= config.ngram]
    signatures = minhash([" ".join(words[i] or ()) for i in long_enough], config)
    buckets: list[list[int]] = [[] for _ in words]  # a text shorter than a shingle has none: only its digest counts
    keys = bucket_keys(signatures, choose_bands(config.threshold, config.num_perm))
    for i, row in zip(long_enough, keys.tolist(), strict=True):
        buckets[i] = row
    digests = [None if unit is None else digest_words(unit) for unit in words]
    ordinals = [ordinal(partition, row) for row in range(len(words))]
    return pa.table([ordinals, digests, buckets], schema=SIGNATURE)


def ordinal(partition: int, row: int) -> int:
    """One number for a document's place in the corpus."""
    return partition << 32 | row


def place(ordinal: int) -> tuple[int, int]:
    """Partition and row of an ordinal."""
    return ordinal >> 32, ordinal & 0xFFFFFFFF


def kept_texts(documents: pa.Table, cleaned: pa.Table) -> list[str | None]:
    """The text of each document as the recipe leaves it; None where it drops the document."""
    columns = documents["text"].to_pylist(), cleaned["text"].to_pylist(), cleaned["reason"].to_pylist()
    return [
        None if reason is not None else text if edited is None else edited
        for text, edited, reason in zip(*columns, strict=True)
    ]


def normal_words(text: str) -> tuple[str, ...]:
    """The words that count: compatibility forms made equal (NFKC), without case; white space doesn't matter."""
    return split_words(unicodedata.normalize("NFKC", text).lower())


def digest_words(words: Sequence[str]) -> str:
    """The digest of a normalised text: equal for exact duplicates."""
    return hashlib.blake2b(" ".join(words).encode(), digest_size=16).hexdigest()


def shingles(words: Sequence[str], ngram: int) -> np.ndarray:
    """The set of a text's shingles, as sorted 64-bit hashes that compare within this process only."""
    runs = zip(*(words[i:] for i in range(ngram)), strict=False)
    return np.unique(np.fromiter(map(hash, runs), np.int64))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """The similarity of two sets: the size of what they share by the size of both together; 0 of nothing."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared) if shared else 0.0


def minhash(texts: list[str], config: DedupConfig) -> np.ndarray:
    """Signatures of texts whose words are joined by single spaces: [texts, num_perm], 32 bits each."""
    if not texts:
        return np.empty((0, config.num_perm), np.uint32)
    series = engine.daft_module().Series.from_arrow(pa.array(texts, pa.large_string()))
    hashed = series.minhash(config.num_perm, config.ngram, config.seed, "xxhash3_64").to_arrow()
    return hashed.flatten().to_numpy().astype(np.uint32).reshape(len(texts), config.num_perm)


def bucket_keys(signatures: np.ndarray, bands: Bands) -> np.ndarray:
    """For each signature one 64-bit key a band: [texts, bands]; keys of different bands don't meet."""
    used = signatures[:, : bands.count * bands.rows].astype(np.uint64).reshape(len(signatures), bands.count, bands.rows)
    keys = np.broadcast_to(np.arange(1, bands.count + 1, dtype=np.uint64), used.shape[:2])
    for row in range(bands.rows):
        keys = (keys ^ used[:, :, row]) * np.uint64(0x9E3779B97F4A7C15)
        keys = keys ^ (keys >> np.uint64(32))
    return keys
