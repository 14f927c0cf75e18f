"""The tensors of a folder as Hugging Face lays them out: one safetensors file, or shards and an index."""

import json
from typing import Any

import ml_dtypes
import numpy as np

from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike, as_path, is_local, is_regular, read_json

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_MAPPED = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
# TensorFlow's names of a norm's weights, still found in old checkpoints such as bert-base-uncased.
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def package() -> Any:
    """The package safetensors, with its NumPy half.

    Raises:
      ConfigError: it is not installed.
    """
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ConfigError("safetensors files need the package: pip install 'maxlm[hf]'") from error
    return safetensors


class Tensors:
    """Reads tensors by name, one at a time.

    Attributes:
      folder: where they stand.
      names: all that there are, in today's spelling.
    """

    def __init__(self, folder: PathLike):
        """Opens the files and reads their headers.

        Raises:
          ConfigError: the package safetensors is not installed.
          DataError: no safetensors in the folder, a shard is missing, a file is damaged, or the index is wrong.
        """
        self.folder = as_path(folder)
        self._files: dict[str, Any] = {}
        self._places = self._find()  # today's name -> (file, name in it)
        self.names = self._places.keys()

    def read(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor as float32. Raises DataError like `stored`."""
        return self.stored(name, shape).astype(np.float32)

    def stored(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """A tensor in the type it is stored in.

        Raises:
          DataError: missing, of another shape than `shape`, or not of numbers with a fraction.
        """
        self.require(name)
        file, stored_name = self._places[name]
        try:
            value = self._files[file].get_tensor(stored_name)
        except (AttributeError, KeyError, TypeError) as error:  # the package's own, of float8 and narrower
            raise DataError(
                f"{self.folder / file}: tensor {stored_name!r} is of a type that is not read ({error})"
            ) from error
        if value.shape != shape:
            found, wanted = list(value.shape), list(shape)
            raise DataError(
                f"{self.folder / file}: tensor {stored_name!r} has shape {found}; by config.json it should be {wanted}"
            )
        # bfloat16 and float8 are no floats to NumPy (kind "V"); integers would be quantised weights.
        if value.dtype.kind not in "fV":
            raise DataError(
                f"{self.folder / file}: tensor {stored_name!r} is {value.dtype}: quantised weights are not read"
            )
        return value

    def require(self, name: str) -> None:
        """Raises DataError: there is no such tensor."""
        if name not in self._places:
            raise DataError(
                f"{self.folder}: tensor {name!r} is missing; is this checkpoint whole, and its config.json its own?"
            )

    def _find(self) -> dict[str, tuple[str, str]]:
        if (self.folder / INDEX).exists() and not (self.folder / WHOLE).exists():  # as transformers chooses
            listed = read_json(self.folder / INDEX, "index of shards").get("weight_map")
            if not isinstance(listed, dict) or not listed:
                raise DataError(f"{self.folder / INDEX}: has no weight_map")
            if outside := [file for file in listed.values() if not isinstance(file, str) or "/" in file]:
                raise DataError(f"{self.folder / INDEX}: {outside[0]!r} is no file of this folder")
            for file in sorted(set(listed.values())):
                self._files[file] = self._open(file)
            for name, file in listed.items():
                if name not in self._files[file].keys():
                    raise DataError(f"{self.folder / file}: tensor {name!r} is missing; {INDEX} says it is here")
            places = {name: (file, name) for name, file in listed.items()}
        else:
            self._check_present()
            self._files[WHOLE] = self._open(WHOLE)
            places = {name: (WHOLE, name) for name in self._files[WHOLE].keys()}
        return {_today(name): place for name, place in places.items()}

    def _check_present(self) -> None:
        if (self.folder / WHOLE).exists():
            return
        pickled = sorted(
            path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in self.folder.glob(pattern)
        )
        if pickled:
            raise DataError(
                f"{self.folder / pickled[0]}: pickled weights are not read, since reading them can run code; "
                "save the model again with transformers' save_pretrained, which writes safetensors"
            )
        raise DataError(f"{self.folder}: no {WHOLE} and no {INDEX}")

    def _open(self, file: str) -> Any:
        safetensors = package()
        path = self.folder / file
        if not path.exists():
            raise DataError(f"{path}: no such file, though {INDEX} names it; copy all shards")
        if not is_regular(path):
            raise DataError(f"{path}: not a regular file")
        try:
            if is_local(path):
                return _Mapped(path, safetensors.safe_open(str(path), "numpy"))
            return _InMemory(safetensors.numpy.load(path.read_bytes()))
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise DataError(f"{path}: damaged, or no safetensors file ({error})") from error


class _Mapped:
    """A file whose pages the system reads as they are needed, and takes back: the package's tensors would be copies."""

    def __init__(self, path: Any, opened: Any):
        """`opened`: by safetensors, which has checked the header and keeps it to itself.

        Raises ValueError: an entry that is written otherwise than the format says, though the package takes it.
        """
        self._opened, self._bytes = opened, np.memmap(path, np.uint8, "r")
        length = int.from_bytes(self._bytes[:8].tobytes(), "little")
        self._start, header = 8 + length, json.loads(self._bytes[8 : 8 + length].tobytes())
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for name, entry in self._entries.items():
            if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
                raise ValueError(f"tensor {name!r} is described by {str(entry)[:60]}")

    def keys(self) -> list[str]:
        return list(self._opened.keys())

    def get_tensor(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        if entry["dtype"] not in _MAPPED:
            return self._opened.get_tensor(name)
        first, past = entry["data_offsets"]
        raw = self._bytes[self._start + first : self._start + past]
        return raw.view(_MAPPED[entry["dtype"]]).reshape(entry["shape"])


class _InMemory:
    """A file from a bucket."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self._tensors = tensors

    def keys(self) -> list[str]:
        return list(self._tensors)

    def get_tensor(self, name: str) -> np.ndarray:
        return self._tensors[name]


def _today(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name
