"""Random order that is a pure function of numbers: the same on every machine and with every version of NumPy."""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014): a bijection of uint64 that spreads every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hashes(values: np.ndarray, *salt: int | str) -> np.ndarray:
    """One uint64 for each of `values` (non-negative integers), another one for another `salt`."""
    key = hashlib.blake2b(repr(salt).encode(), digest_size=8).digest()
    return _mix(_mix(values.astype(np.uint64) * _GOLDEN + np.frombuffer(key, "<u8")[0]))


def shuffled(count: int, *salt: int | str) -> np.ndarray:
    """A permutation of ``range(count)``, int64 `[count]`."""
    return np.argsort(hashes(np.arange(count), *salt), kind="stable")


def text_hash(text: str) -> int:
    """A uint64 of a string: which documents are held out depends on nothing but their ids."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
