"""Hashed n-grams of whole texts, in NumPy: what the linear classifier sees.

A text is a sequence of units: words (letters, digits and marks, compatibility forms made equal and without case),
each mark of punctuation, and each character of a script that puts no spaces between words. Runs of units are counted
in 2**20 buckets (the hashing trick, Weinberger et al. 2009; as fastText does, Joulin et al. 2016, section 2).
Nothing is done a word at a time: characters become hashes by a table, and words differences of prefix sums.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
from scipy import sparse

_SPACE, _WORD, _UNSPACED, _MARK = range(4)  # what a character is
# Han and kana, Thai, Lao, Burmese and Khmer: first and last code points.
_UNSPACED_RANGES = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007),
                    (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))  # fmt: skip
_TABLE = 0x20000  # characters below have a row of their own; above stands rare Han
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BASE_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))
# Characters hashed at once: their arrays stay in the cache.
_BATCH_CHARS = 1 << 17
_RARE_FROM = 5_000  # texts


@dataclass(frozen=True)
class Features:
    """Which n-grams count. Saved with a model."""

    buckets: int = 2**20  # a power of two
    word_ngram: int = 2  # longest run of units
    char_ngram: int = 3  # longest run of characters of a script without spaces
    max_chars: int = 20_000  # of a text: what comes after is not looked at

    def counts(self, texts: Sequence[str], places: np.ndarray | None = None, columns: int = 0) -> sparse.csr_array:
        """How often each text has each n-gram: float64 [texts, buckets].

        With `places`, the column of each bucket among `columns` (-1: none), only those: [texts, columns].
        """
        columns = self.buckets if places is None else columns
        parts = []
        # NUL stands between texts; inside one it is as good as a space.
        for batch in _batches([text[: self.max_chars].replace("\0", " ") for text in texts]):
            owners, found = self._occurrences(batch)
            if places is not None:
                found = places[found]
                known = found >= 0
                owners, found = owners[known], found[known]
            parts.append(_counted(owners, found, len(batch), columns))
        return sparse.csr_array(sparse.vstack(parts, format="csr") if parts else (0, columns))

    def _occurrences(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The text and the bucket of each n-gram."""
        hashes, unspaced, owners = _units("\0".join(texts))
        found, whose = [hashes], [owners]
        run, all_unspaced = hashes, unspaced
        for length in range(2, max(self.word_ngram, self.char_ngram) + 1):
            run = _mix(run[:-1] * _BASE + hashes[length - 1 :])
            all_unspaced = all_unspaced[:-1] & unspaced[length - 1 :]
            starts = owners[: len(run)]
            wanted = starts == owners[length - 1 :]
            if length > self.word_ngram:
                wanted &= all_unspaced
            elif length > self.char_ngram:
                wanted &= ~all_unspaced
            found.append(run[wanted])
            whose.append(starts[wanted])
        return np.concatenate(whose), (np.concatenate(found) >> np.uint64(32)).astype(np.int64) & (self.buckets - 1)


@dataclass(frozen=True, eq=False)
class Known:
    """The n-grams that training saw. A text is weighed by these alone: what is new in it doesn't dilute the rest."""

    columns: np.ndarray  # the bucket of each, int32
    rarities: np.ndarray  # the weight of each, float32: 1 + log((texts + 1) / (texts that have it + 1))

    @classmethod
    def of(cls, counts: sparse.csr_array) -> "Known":
        """Those of texts as Features.counts gives them. Of many texts, what only one of them has says little."""
        texts, buckets = _shape(counts)
        seen = np.bincount(counts.indices, minlength=buckets)
        columns = np.flatnonzero(seen >= (2 if texts >= _RARE_FROM else 1))
        rarities = 1 + np.log((texts + 1) / (seen[columns] + 1))
        return cls(columns.astype(np.int32), rarities.astype(np.float32))

    def places(self, buckets: int) -> np.ndarray:
        """The column of each bucket, or -1: int32 [buckets]."""
        places = np.full(buckets, -1, np.int32)
        places[self.columns] = np.arange(len(self.columns), dtype=np.int32)
        return places

    def rows(self, counts: sparse.csr_array) -> sparse.csr_array:
        """Texts, counted in all buckets, as weighed rows of these columns."""
        # By hand: SciPy picks columns through a matrix of all buckets.
        columns = self.places(_shape(counts)[1])[counts.indices]
        kept = columns >= 0
        pointers = np.concatenate([[0], np.cumsum(kept)])[counts.indptr]
        return self.weighed(
            sparse.csr_array((counts.data[kept], columns[kept], pointers), (len(counts.indptr) - 1, len(self.columns)))
        )

    def weighed(self, counts: sparse.csr_array) -> sparse.csr_array:
        """Rows of (1 + log(count)) * rarity, of l2 norm 1; empty ones stay zero (Salton and Buckley 1988)."""
        weights = (1 + np.log(counts.data)) * self.rarities[counts.indices]
        lengths = np.diff(counts.indptr)
        owners = np.repeat(np.arange(len(lengths)), lengths)
        norms = np.sqrt(np.bincount(owners, weights * weights, minlength=len(lengths)))
        return sparse.csr_array((weights / norms[owners], counts.indices, counts.indptr), counts.shape)


def _shape(rows: sparse.csr_array) -> tuple[int, int]:
    return cast(tuple[int, int], rows.shape)


def _counted(owners: np.ndarray, found: np.ndarray, num_texts: int, columns: int) -> sparse.csr_array:
    """Occurrences as counts."""
    bits = (columns - 1).bit_length()
    keys = (owners << bits) | found
    keys.sort(kind="stable")  # on some processors twice as fast as the default, which leans on AVX-512
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(first, append=len(keys)).astype(np.float64)
    keys = keys[first]
    pointers = np.searchsorted(keys, np.arange(num_texts + 1) << bits)
    return sparse.csr_array((counts, (keys & ((1 << bits) - 1)).astype(np.int32), pointers), (num_texts, columns))


def _batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = size = 0
    for i, text in enumerate(texts):
        size += len(text) + 1
        if size >= _BATCH_CHARS:
            yield texts[start : i + 1]
            start, size = i + 1, 0
    if start < len(texts):
        yield texts[start:]


def _units(joined: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hash of each unit of texts joined by NUL, whether its script has no spaces, and the number of its text."""
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    if not len(codes):
        return np.empty(0, np.uint64), np.empty(0, bool), np.empty(0, np.int64)
    kinds, table = _characters()
    low = np.minimum(codes, _TABLE)
    kind, character = kinds[low], table[low]
    if (above := codes >= _TABLE).any():
        character[above] = _mix(codes[above].astype(np.uint64))
    word = kind == _WORD
    begins = kind != _SPACE
    begins[1:] &= ~(word[1:] & word[:-1])
    starts = np.flatnonzero(begins)
    # A word's hash is the sum of its characters', each times a power of the base: a difference of two prefix sums,
    # moved to the origin by a power of the base's inverse. All of it modulo 2**64.
    powers, inverses = _powers(1 << (len(codes) - 1).bit_length())
    sums = np.cumsum(character * powers[: len(codes)])
    ends = np.append(starts[1:], len(codes)) - 1  # the spaces before the next unit hash to 0
    before = np.where(starts > 0, sums[starts - 1], np.uint64(0))
    hashes = _mix((sums[ends] - before) * inverses[starts])
    return hashes, kind[starts] == _UNSPACED, np.searchsorted(np.flatnonzero(codes == 0), starts)


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014): every bit of the input reaches the high bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers of the base and of its inverse, from the 0th on."""
    powers, inverses = (np.cumprod(np.append(np.uint64(1), np.full(count - 1, b))) for b in (_BASE, _BASE_INVERSE))
    return powers, inverses


@cache
def _characters() -> tuple[np.ndarray, np.ndarray]:
    """Kind and hash of each character; the last row is for those above the table."""
    kinds = np.empty(_TABLE + 1, np.uint8)
    folded = np.empty(_TABLE + 1, np.uint64)
    for code in range(_TABLE):
        character = chr(code)
        normal = unicodedata.normalize("NFKC", character).lower()
        character = normal if len(normal) == 1 else character
        folded[code] = ord(character)
        category = unicodedata.category(character)
        kinds[code] = _SPACE if category[0] in "ZC" else _WORD if category[0] in "LNM" or code == 0x5F else _MARK
    for first, last in _UNSPACED_RANGES:
        here = kinds[first : last + 1]
        here[here == _WORD] = _UNSPACED
    kinds[_TABLE] = _UNSPACED
    hashes = _mix(folded + np.uint64(1))
    hashes[kinds == _SPACE] = 0
    return kinds, hashes
