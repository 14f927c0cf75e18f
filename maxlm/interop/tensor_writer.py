"""Safetensors files of known tensors, written in any order, a tensor in memory at a time.

The package safetensors writes a file from all of its tensors at once. The format is simple: eight bytes with the
length of a JSON header (little endian), the header with each tensor's type, shape and place, then the numbers.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np

from maxlm.interop.tensors import INDEX, WHOLE
from maxlm.paths import PathLike, as_path, sync_directory, write_json

DTYPES: dict[str, tuple[str, Any]] = {  # name in config.json -> name in a header, NumPy's
    "float32": ("F32", np.float32),
    "bfloat16": ("BF16", ml_dtypes.bfloat16),
    "float16": ("F16", np.float16),
}
_ALIGNMENT = 8  # of the header's end, as the package itself does it
_BLOCK_BYTES = 16 << 20  # converted at a time


class TensorWriter:
    """Writes model.safetensors, or shards and their index, into a local folder."""

    def __init__(self, folder: PathLike, shapes: Mapping[str, tuple[int, ...]], dtype: str, shard_bytes: int):
        """Makes the files in their full length, under other names until `publish`."""
        self._folder = as_path(folder)
        self._kind, self._dtype = DTYPES[dtype]
        self._shapes = dict(shapes)
        self._places: dict[str, tuple[str, int]] = {}  # of what is not written yet: file, offset
        self._weight_map: dict[str, str] = {}
        shards = list(_shards(self._sizes(), shard_bytes))
        self._files = [WHOLE]
        if len(shards) > 1:
            self._files = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
        for file, names in zip(self._files, shards, strict=True):
            self._begin(file, names)

    def _sizes(self) -> dict[str, int]:
        width = np.dtype(self._dtype).itemsize
        return {name: math.prod(shape) * width for name, shape in self._shapes.items()}

    def _partial(self, file: str) -> str:
        return os.fspath(self._folder / f"{file}.partial")

    def _begin(self, file: str, names: list[str]) -> None:
        sizes, offsets, end = self._sizes(), {}, 0
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        for name in names:
            offsets[name], end = end, end + sizes[name]
            place = [offsets[name], end]
            header[name] = {"dtype": self._kind, "shape": list(self._shapes[name]), "data_offsets": place}
        raw = json.dumps(header, separators=(",", ":")).encode()
        raw += b" " * (-len(raw) % _ALIGNMENT)
        start = 8 + len(raw)
        self._weight_map |= dict.fromkeys(names, file)
        self._places |= {name: (file, start + offset) for name, offset in offsets.items()}
        with open(self._partial(file), "wb") as out:
            out.write(len(raw).to_bytes(8, "little") + raw)
            out.truncate(start + end)

    def write(self, name: str, value: np.ndarray) -> None:
        """Writes a tensor, converted block by block: `value` may be a view of another order or type."""
        file, offset = self._places.pop(name)
        assert value.shape == self._shapes[name], (name, value.shape, self._shapes[name])
        rows = max(1, _BLOCK_BYTES // max(1, value[:1].size * 4))
        with open(self._partial(file), "r+b") as out:
            out.seek(offset)
            for start in range(0, len(value), rows):
                block = np.ascontiguousarray(value[start : start + rows].astype(self._dtype))
                out.write(block.view(np.uint8).data)

    def publish(self) -> None:
        """Gives the files their names; the index comes last."""
        assert not self._places, f"never written: {sorted(self._places)[:3]}"
        for file in self._files:
            with open(self._partial(file), "rb") as written:
                os.fsync(written.fileno())
            os.replace(self._partial(file), self._folder / file)
        sync_directory(self._folder)
        if len(self._files) > 1:
            total = {"total_size": sum(self._sizes().values())}
            write_json(self._folder / INDEX, {"metadata": total, "weight_map": self._weight_map})

    def discard(self) -> None:
        """Takes away what was not published."""
        for file in self._files:
            if os.path.exists(self._partial(file)):
                os.unlink(self._partial(file))


def _shards(sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """Names in their order, as many to a shard as fit into `limit` bytes, and at least one."""
    names: list[str] = []
    filled = 0
    for name, size in sizes.items():
        if names and filled + size > limit:
            yield names
            names, filled = [], 0
        names.append(name)
        filled += size
    yield names


@contextmanager
def writing(
    folder: PathLike, shapes: Mapping[str, tuple[int, ...]], dtype: str, shard_bytes: int
) -> Iterator[TensorWriter]:
    """A writer that publishes at the end, or takes away what it began if anything fails."""
    writer = TensorWriter(folder, shapes, dtype, shard_bytes)
    try:
        yield writer
        writer.publish()
    finally:
        writer.discard()
