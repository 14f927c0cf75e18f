"""What a document is compared by: a digest of its normalised text, and a MinHash signature.

Broder 1997: the share of equal places in two documents' MinHash signatures estimates the Jaccard similarity of their
sets of shingles (runs of n words). Signatures come from the engine's Rust code, which splits at single spaces; so it
is handed folded texts, each Chinese character as a word of its own. Thresholds and bands come later: another one
makes no new signatures.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline import engine
from data_pipeline.config import DataConfig, DedupConfig
from data_pipeline.dedup import folding, origins
from data_pipeline.dedup.origins import Origin, Origins
from data_pipeline.document import ATTRIBUTES, INGESTED
from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, read_json, write_json

SIGNATURES = "corpus/dedup/signatures"
PARAMETERS = "parameters.json"  # beside the partitions: whether a later data set can use them
# A row for each document that takes part. `signature`: num_perm times 32 bits, one after the other; null for a text
# shorter than a shingle, of which only the digest counts. `unspaced`: how many of its characters are of scripts
# without spaces.
SIGNATURE = pa.schema(
    [
        ("ordinal", pa.int64()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("characters", pa.int64()),
        ("unspaced", pa.int64()),
        ("digest", pa.binary(16)),
        ("signature", pa.binary()),
    ]
)
_VERSION = 2
_TEXT_BYTES = 16  # how much less work a byte of text is here than in a recipe
_CHUNK_WORDS = 500_000  # longer texts are hashed in pieces that overlap, which bounds what the kernel needs


def run(config: DataConfig, dataset: PathLike, found: Origins) -> None:
    """Writes DATASET/corpus/dedup/signatures."""
    folder = as_path(dataset) / SIGNATURES
    stage = engine.Stage("signatures", (folder,), stage_digest(config, found), config.runner)
    engine.make_partitions(stage, partial(_sign_origin, config.dedup), found.jobs(), found.size_bytes // _TEXT_BYTES)
    write_json(folder / PARAMETERS, _parameters(config.dedup))


def stage_digest(config: DataConfig, found: Origins) -> str:
    """What signatures depend on: their parameters, and the documents as the stages before leave them."""
    return engine.digest("signatures", [_parameters(config.dedup), list(config.dedup.against)], found.folders)


def _parameters(config: DedupConfig) -> dict[str, int]:
    return {"version": _VERSION, "num_perm": config.num_perm, "ngram": config.ngram, "seed": config.seed}


def _sign_origin(config: DedupConfig, origin: Origin) -> tuple[pa.Table]:
    if origin.earlier and (kept := _signed_before(config, origin)) is not None:
        return (kept,)
    parts = [SIGNATURE.empty_table()]
    for rows, documents, texts in origins.texts(origin, columns=("id", "source", "domain")):
        part = sign(config, documents, texts)
        taking = np.array([text is not None for text in texts])
        parts.append(part.set_column(0, "ordinal", pa.array(origins.ordinals(origin, rows[taking]))))
    return (pa.concat_tables(parts),)


def sign(config: DedupConfig, documents: pa.Table, texts: list[str | None]) -> pa.Table:
    """The signatures of those `documents` whose text (as edited) is not None; ordinals count the rows."""
    rows = [row for row, text in enumerate(texts) if text is not None]
    taken = [text for text in texts if text is not None]
    folded = folding.fold(taken)
    long_enough = folded.words >= config.ngram
    signatures = minhash(folded.texts.filter(pa.array(long_enough)), config)
    taking = documents.select(["id", "source", "domain"]).take(pa.array(rows, pa.int64()))
    columns = {
        "ordinal": pa.array(rows, pa.int64()),
        **{name: taking[name] for name in taking.column_names},
        "characters": pa.array(map(len, taken), pa.int64()),
        "unspaced": folded.unspaced,
        "digest": pa.array(folding.digests(folded.texts), pa.binary(16)),
        "signature": packed(signatures, long_enough),
    }
    return pa.table(columns, schema=SIGNATURE)


def minhash(texts: pa.LargeStringArray, config: DedupConfig) -> np.ndarray:
    """Signatures of folded texts of at least a shingle each: uint32 [texts, num_perm]."""
    # A word takes two bytes at least, its space counted.
    long = np.asarray(pc.call_function("binary_length", [texts])) >= 2 * _CHUNK_WORDS
    if not long.any():
        return _least_hashes(texts, config)
    signatures = np.empty((len(texts), config.num_perm), np.uint32)
    signatures[~long] = _least_hashes(texts.filter(pa.array(~long)), config)
    for i in np.flatnonzero(long).tolist():
        # The least hash of a union is the least of the parts': cut this way, nothing changes.
        pieces = (pa.array([piece], pa.large_string()) for piece in _pieces(texts[i].as_py(), config.ngram))
        signatures[i] = np.min([_least_hashes(piece, config)[0] for piece in pieces], axis=0)
    return signatures


def _least_hashes(texts: pa.LargeStringArray, config: DedupConfig) -> np.ndarray:
    if not len(texts):
        return np.empty((0, config.num_perm), np.uint32)
    series = engine.daft_module().Series.from_arrow(texts)
    hashed = series.minhash(config.num_perm, config.ngram, config.seed, "xxhash3_64").to_arrow()
    return hashed.flatten().to_numpy().astype(np.uint32).reshape(len(texts), config.num_perm)


def _pieces(text: str, ngram: int) -> Iterator[str]:
    words = text.split(" ")
    for start in range(0, max(1, len(words) - ngram + 1), _CHUNK_WORDS):
        yield " ".join(words[start : start + _CHUNK_WORDS + ngram - 1])


def packed(signatures: np.ndarray, present: np.ndarray) -> pa.Array:
    """Signatures as an Arrow column: a row for each of `present`, null where it is False."""
    width = signatures.shape[1] * 4
    offsets = np.zeros(len(present) + 1, np.int64)
    np.cumsum(present * width, out=offsets[1:])
    if offsets[-1] >= 2**31:
        raise DataError("signatures of one partition take more than 2 GiB: raise config.partitions, run ingest again")
    mask = pa.array(present).buffers()[1]
    data = pa.py_buffer(np.ascontiguousarray(signatures))
    return pa.Array.from_buffers(pa.binary(), len(present), [mask, pa.py_buffer(offsets.astype(np.int32)), data])


def unpacked(column: pa.ChunkedArray, num_perm: int) -> tuple[np.ndarray, np.ndarray]:
    """The signatures that a column holds (uint32 [present, num_perm]), and which of its rows have one."""
    present = ~np.asarray(column.is_null().combine_chunks())
    parts = [_values(chunk.drop_null()) for chunk in column.chunks]
    flat = np.concatenate([np.empty(0, np.uint32), *parts])
    return flat.reshape(-1, num_perm), present


def _values(chunk: pa.Array) -> np.ndarray:
    if not len(chunk):
        return np.empty(0, np.uint32)
    _, offsets, data = chunk.buffers()
    bounds = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]].view(np.uint32)


def _signed_before(config: DedupConfig, origin: Origin) -> pa.Table | None:
    """The signatures that an earlier data set made of what it kept; None: with other parameters, or none."""
    folder, name = as_path(origin.folder), as_path(origin.documents).name
    signed, judged = folder / SIGNATURES, folder / ATTRIBUTES / "dedup"
    if not (signed / PARAMETERS).exists() or read_json(signed / PARAMETERS, "parameters") != _parameters(config):
        return None
    if not (engine.is_complete(signed) and (judged / name).exists() and (signed / name).exists()):
        return None
    if name not in engine.require(folder / INGESTED, "ingest"):
        return None
    kept = engine.read_partition(judged / name, ["reason"])["reason"].is_null().to_numpy()
    table = engine.read_partition(signed / name)
    rows = origins.place(table["ordinal"].to_numpy())[1]
    table = table.filter(pa.array(kept[rows]))
    # decide leaves what stays in order, so that the rows of DOCUMENTS are these.
    if table["id"] != engine.read_partition(origin.documents, ["id"])["id"]:
        return None
    here = pa.array(origins.ordinals(origin, np.arange(table.num_rows)))
    return table.set_column(0, "ordinal", here)
