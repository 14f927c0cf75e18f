"""Documents that share a bucket (a band's value, or the digest) linked into stars: the first of a bucket, and others.

A bucket of k documents gives k - 1 links, however large it is. Each origin links its own documents first and sends one
of each bucket on, so that a bucket which half the corpus shares weighs no more in the exchange than any other.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from data_pipeline import engine, exchange
from data_pipeline.config import DataConfig
from data_pipeline.dedup import signatures
from data_pipeline.dedup.bands import Bands, bands_of, bucket_keys
from data_pipeline.dedup.links import both_ways, stars
from data_pipeline.dedup.origins import Origins
from data_pipeline.engine import Scattered
from maxlm.paths import PathLike, as_path

BUCKETS = "corpus/dedup/buckets"  # rows of key, ordinal; exchanged by key
LINKS = "corpus/dedup/links-within", "corpus/dedup/links-across"  # links by node: of one origin, and between origins
_VERSION = 2
_LINK_BYTES = 16  # of work that a document costs here, in the measure of the engine: bytes of text


def stage_digest(config: DataConfig, dataset: PathLike, found: Origins) -> str:
    """What the links depend on: signatures, bands and partitions."""
    bands = bands_of(config.dedup)
    parameters = [_VERSION, bands.count, bands.rows, found.parts]
    return engine.digest("buckets", parameters, [as_path(dataset) / signatures.SIGNATURES])


def run(config: DataConfig, dataset: PathLike, found: Origins) -> None:
    """Writes the links between documents that share a bucket, exchanged by both their ends."""
    dataset = as_path(dataset)
    within, across = (dataset / name for name in LINKS)
    digest = stage_digest(config, dataset, found)
    work = found.size_bytes // _LINK_BYTES
    stage = engine.Stage("buckets", (within, dataset / BUCKETS), digest, config.runner)
    sign = partial(_link_origin, bands_of(config.dedup), config.dedup.num_perm, found.parts)
    jobs = {name: str(dataset / signatures.SIGNATURES / name) for name in found.jobs()}
    engine.make_partitions(stage, sign, jobs, work)
    stage = engine.Stage("links", (across,), digest, config.runner)
    link = partial(_link_buckets, str(dataset / BUCKETS), found.parts)
    engine.make_partitions(stage, link, found.part_jobs(), work)


def _link_origin(bands: Bands, num_perm: int, parts: int, path: str) -> tuple[Scattered, Scattered]:
    table = engine.read_partition(path, ["ordinal", "digest", "signature"])
    keys, ordinals = document_keys(table, bands, num_perm)
    firsts, links = stars(keys, ordinals)
    rows = pa.table({"key": keys[firsts].view(np.int64), "ordinal": ordinals[firsts]})
    return both_ways(links, parts), exchange.scatter(rows, "key", parts)


def document_keys(table: pa.Table, bands: Bands, num_perm: int) -> tuple[np.ndarray, np.ndarray]:
    """The keys of all buckets that documents are in, and beside each the document's ordinal."""
    ordinals = table["ordinal"].to_numpy()
    values, present = signatures.unpacked(table["signature"], num_perm)
    keys = bucket_keys(values, bands)
    owners = np.repeat(ordinals[present], bands.count)
    return np.concatenate([digest_keys(table["digest"])[:, 0], keys.ravel()]), np.concatenate([ordinals, owners])


def digest_keys(column: pa.ChunkedArray) -> np.ndarray:
    """Digests as numbers: uint64 [documents, 2]; the first is the key of their bucket."""
    parts = [np.frombuffer(b"".join(chunk.to_pylist()), np.uint64) for chunk in column.chunks]
    return np.concatenate([np.empty(0, np.uint64), *parts]).reshape(-1, 2)


def _link_buckets(folder: str, parts: int, number: int) -> tuple[Scattered]:
    table = exchange.gather(folder, number)
    _, links = stars(table["key"].to_numpy().view(np.uint64), table["ordinal"].to_numpy())
    return (both_ways(links, parts),)
