"""The arrays of a checkpoint one at a time: written, or read, without the others in memory.

A checkpoint's item is an OCDBT database with a Zarr array for each leaf, named by its path with dots, and orbax's
_METADATA. orbax itself saves and restores whole trees; here a model passes through that no memory holds whole.
"""

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts

from maxlm.errors import CheckpointError, DataError
from maxlm.paths import PathLike, as_path, is_local, parse_json

# What is read at least, and compressed at a time; on its way from or to the disk it is in memory several times.
CHUNK_BYTES = 16 << 20
_DESCRIPTION, _MOST_DESCRIPTION_BYTES = b"/.zarray", 1 << 16
_READ_TOGETHER_BYTES = 2 * CHUNK_BYTES
_KEPT_OPEN = 3  # leaves: queries, keys and values may be read in turn
_COMPRESSOR = {"id": "zstd", "level": 1}  # as orbax's
_DICT_KEY = 2  # orbax's number for a key of a dict
_FORMAT = {"use_ocdbt": True, "use_zarr3": False, "store_array_data_equal_to_fill_value": True, "custom_metadata": None}

Path = tuple[str, ...]
# A leaf's path, and the layer where it is stacked (else None) -> its values, of one layer
Read = Callable[[Path, int | None], np.ndarray]


class StoredArrays:
    """Reads the leaves of one item of a checkpoint.

    Attributes:
      names: of all leaves, dotted.
    """

    def __init__(self, folder: PathLike):
        """Raises CheckpointError: no item of a checkpoint, or a damaged one."""
        self._folder = as_path(folder)
        self.names = frozenset(described(self._folder))
        self._open: dict[str, Any] = {}

    def read(self, name: str, layer: int | None = None) -> np.ndarray:
        """A leaf, or one layer of it. Raises CheckpointError."""
        return self._read(name, () if layer is None else (slice(layer, layer + 1),), squeeze=layer is not None)

    def array(self, name: str, like: Any) -> jax.Array:
        """A leaf on the sharding of `like`, each device's part read for it alone."""
        return jax.make_array_from_callback(like.shape, like.sharding, lambda index: self._read(name, index or ()))

    def _read(self, name: str, index: tuple[slice, ...], squeeze: bool = False) -> np.ndarray:
        try:
            values = _gathered(self._opened(name)[index])
        except (ValueError, OSError, MemoryError) as error:  # the last: a shape that no memory holds
            raise CheckpointError(f"{self._folder}: {name} can't be read ({_brief(error)})") from error
        return values[0] if squeeze else values

    def _opened(self, name: str) -> Any:
        """The array, with a cache that holds the chunks of a layer where these run on into other layers."""
        if name not in self._open:
            # A chunk that is not there is damage, not zeros.
            spec = {
                "driver": "zarr",
                "kvstore": _database(self._folder) | {"path": f"{name}/"},
                "fill_missing_data_reads": False,
            }
            plain = ts.open(spec, open=True, read=True).result()
            layers = int((plain.chunk_layout.read_chunk.shape or (1,))[0] or 1)
            kept = layers * math.prod(plain.shape[1:]) * plain.dtype.numpy_dtype.itemsize if layers > 1 else 0
            context = ts.Context({"cache_pool": {"total_bytes_limit": kept}})
            if len(self._open) == _KEPT_OPEN:
                del self._open[next(iter(self._open))]
            self._open[name] = ts.open(spec, open=True, read=True, context=context).result()
        return self._open[name]


def _gathered(array: Any) -> np.ndarray:
    """The values of a stored array, a few chunks at a time: what is read at once is in memory compressed as well."""
    values, array = np.empty(array.shape, array.dtype.numpy_dtype), array.translate_to[(0,) * array.rank]
    layout = array.chunk_layout
    chunk = [step or size for step, size in zip(layout.read_chunk.shape or (), array.shape, strict=True)]
    together = max(1, _READ_TOGETHER_BYTES // max(1, math.prod(chunk) * values.itemsize))
    starts = ((origin or 0) % -max(step, 1) for origin, step in zip(layout.grid_origin or chunk, chunk, strict=True))
    parts = itertools.product(*map(_cuts, starts, chunk, array.shape))
    while some := list(itertools.islice(parts, together)):
        for part, read in [(part, array[part].read()) for part in some]:
            values[part] = read.result()
    return values


def _cuts(start: int, step: int, size: int) -> list[slice]:
    """A dimension cut where its chunks end; the first one may begin before it."""
    return [slice(max(at, 0), min(at + step, size)) for at in range(start, size, max(step, 1))]


def described(folder: PathLike) -> list[str]:
    """The names of an item's arrays, after a look at how they describe themselves, before libraries in C++ take it.

    Those read a description of 100,000 brackets with as many calls of a function, and crash; and make room for a
    chunk of whatever size it says.

    Raises:
      CheckpointError: no item of a checkpoint, or a damaged one: a description is none, is of an unlikely size, or says
        that a chunk is larger than its array.
    """
    folder = as_path(folder)
    try:
        store = ts.KvStore.open(_database(folder)).result()
        reads = [(key, store.read(key)) for key in store.list().result() if key.endswith(_DESCRIPTION)]
        found = {key.removesuffix(_DESCRIPTION).decode(errors="replace"): read.result().value for key, read in reads}
    except (ValueError, OSError, NotImplementedError) as error:  # the last: a damaged file asks for what is unknown
        raise CheckpointError(f"{folder}: can't be read ({_brief(error)})") from error
    for name, raw in found.items():
        if len(raw) > _MOST_DESCRIPTION_BYTES:
            raise CheckpointError(f"{folder}: {name}: {len(raw):,} bytes are no description of an array")
        try:
            values = parse_json(raw, folder / name, "description of an array")
        except DataError as error:
            raise CheckpointError(str(error)) from error
        shape, chunks = (_sizes(values, key) for key in ("shape", "chunks"))
        if shape is None or chunks is None or len(shape) != len(chunks):
            raise CheckpointError(f"{folder}: {name}: no array has such a shape or such chunks")
        if any(chunk > max(size, 1) for chunk, size in zip(chunks, shape, strict=True)):
            raise CheckpointError(f"{folder}: {name}: a chunk is larger than its array")
    return sorted(found)


def _sizes(values: Any, key: str) -> list[int] | None:
    found = values.get(key) if isinstance(values, dict) else None
    if not isinstance(found, list) or not all(isinstance(size, int) and 0 <= size < 1 << 48 for size in found):
        return None
    return found


class StreamHandler(ocp.CheckpointHandler):
    """Writes an item of a checkpoint layer by layer; orbax restores it as if it had saved it itself."""

    def save(self, directory: Any, args: "StreamSave") -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        tree = {}
        for path, shape in args.shapes.items():
            spec = {
                "driver": "zarr",
                "kvstore": _database(directory) | {"path": f"{'.'.join(path)}/"},
                "metadata": {"shape": shape, "chunks": _chunks(path, shape), "dtype": "<f4", "compressor": _COMPRESSOR},
            }
            array = ts.open(spec, create=True, open=True).result()
            for layer in range(shape[0]) if path[0] == "layers" else (None,):
                _write(array if layer is None else array[layer], args.read(path, layer))
            keys = [{"key": key, "key_type": _DICT_KEY} for key in path]
            value = {
                "value_type": "jax.Array",
                "skip_deserialize": False,
                "write_shape": array.chunk_layout.write_chunk.shape,
            }
            tree[repr(path)] = {"key_metadata": keys, "value_metadata": value}
        (directory / "_METADATA").write_text(json.dumps({"tree_metadata": tree, **_FORMAT}))

    def restore(self, directory: Any, args: Any = None) -> Any:
        return ocp.StandardCheckpointHandler().restore(directory, args=args or ocp.args.StandardRestore())


@ocp.args.register_with_handler(StreamHandler, for_save=True, for_restore=True)
@dataclass
class StreamSave(ocp.args.CheckpointArgs):
    """An item given leaf by leaf; all leaves are float32, and those below "layers" are stacked."""

    shapes: Mapping[Path, tuple[int, ...]]
    read: Read


def _chunks(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A layer at most, and of it as many rows as CHUNK_BYTES hold."""
    stacked = path[0] == "layers"
    rows, *rest = shape[1:] if stacked else shape
    rows = max(1, min(rows, CHUNK_BYTES // (4 * math.prod(rest))))
    return (1, rows, *rest) if stacked else (rows, *rest)


def _write(array: Any, value: np.ndarray) -> None:
    """Writes chunk by chunk, converted on the way."""
    rows = array.chunk_layout.write_chunk.shape[0]
    for start in range(0, array.shape[0], rows):
        stop = min(start + rows, array.shape[0])
        array[start:stop].write(np.ascontiguousarray(value[start:stop], np.float32)).result()


def _database(folder: Any) -> dict[str, Any]:
    base = os.fspath(folder)
    return {"driver": "ocdbt", "base": f"file://{base}/" if is_local(folder) else f"{base}/"}


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
