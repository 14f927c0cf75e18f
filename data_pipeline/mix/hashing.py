"""Random order that is a pure function of numbers: the same on every machine and with every version of NumPy."""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SQRT_HALF, _LOG_2 = 0.7071067811865476, 0.6931471805599453


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


def log(values: np.ndarray) -> np.ndarray:
    """The natural logarithm of positive numbers, float64, to about 1e-11.

    Libraries' logarithms differ in their last bits from machine to machine; this one is made of operations that
    IEEE 754 rounds exactly: with x = m · 2^e and s = (m - 1) / (m + 1), log x = e · log 2 + 2 (s + s³/3 + s⁵/5 + …).
    """
    mantissa, exponent = np.frexp(values)
    low = mantissa < _SQRT_HALF
    mantissa, exponent = np.where(low, 2 * mantissa, mantissa), exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    series = np.full_like(s, 1 / 13)
    for odd in (11, 9, 7, 5, 3, 1):
        series = series * square + 1 / odd
    return exponent * _LOG_2 + 2 * s * series
