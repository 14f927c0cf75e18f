"""The layout of a record: one packed row of ``seq_len + 1`` tokens, ready to train on. Numpy only.

A row is fixed width, little-endian, four columns one after the other:

    tokens   uint16 (uint32 from 65,537 entries of vocabulary up)   [seq_len + 1]
    starts   bitmap: this token begins a segment                    [ceil((seq_len + 1) / 8)]
    learn    bitmap: this token may be a target of the loss         [ceil((seq_len + 1) / 8)]
    domain   uint8: the domain of this token's document             [seq_len + 1]; 255 is padding

A segment is one document, or the part of one that fell into this row; a row's first token always starts one. A block
may hold shorter rows beside those of the data set's seq_len, each length in shards of its own.
Letters: B rows, R = seq_len + 1, T = seq_len.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from maxlm.errors import DataError

FORMAT_VERSION = 2
PADDING_DOMAIN = 255


class Rows(NamedTuple):
    """Packed rows, one array a column, each `[rows, seq_len + 1]`."""

    tokens: np.ndarray  # integer
    starts: np.ndarray  # bool
    learn: np.ndarray  # bool
    domains: np.ndarray  # uint8


Array = Any  # numpy while a batch is on the host, jax once it is on the devices


class Batch(NamedTuple):
    """What a training step reads, each `[batch, seq_len]`."""

    inputs: Array  # int32
    targets: Array  # int32, the token after each input
    segments: Array  # int32, 1 for the first document of a row, 2 for the next, …; 0 in padding
    positions: Array  # int32, counted from the start of the segment
    weights: Array  # float32, 1 where the target counts in the loss
    domains: Array  # int32, domain of the target


@dataclass(frozen=True)
class RowFormat:
    """Encodes and decodes rows of one length."""

    seq_len: int
    vocab_size: int

    @property
    def row_tokens(self) -> int:
        return self.seq_len + 1

    @property
    def token_dtype(self) -> np.dtype:
        return np.dtype("<u2" if self.vocab_size <= 65_536 else "<u4")

    @property
    def _bounds(self) -> tuple[int, int, int, int]:
        """Byte offsets at which the four columns end."""
        tokens = self.row_tokens * self.token_dtype.itemsize
        bitmap = (self.row_tokens + 7) // 8
        return tokens, tokens + bitmap, tokens + 2 * bitmap, tokens + 2 * bitmap + self.row_tokens

    @property
    def row_bytes(self) -> int:
        return self._bounds[-1]

    def encode(self, rows: Rows) -> np.ndarray:
        """`Rows` as bytes, uint8 `[rows, row_bytes]`.

        Raises:
          DataError: a token id is outside the vocabulary (it would be stored as another one).
        """
        if rows.tokens.size and not 0 <= rows.tokens.min() <= rows.tokens.max() < self.vocab_size:
            found = f"{rows.tokens.min()} to {rows.tokens.max()}"
            raise DataError(f"token ids from {found} in rows of a vocabulary of {self.vocab_size}")
        a, b, c, d = self._bounds
        out = np.empty((len(rows.tokens), d), np.uint8)
        tokens = np.ascontiguousarray(rows.tokens, dtype=self.token_dtype)
        out[:, :a] = tokens.view(np.uint8)
        out[:, a:b] = np.packbits(rows.starts, axis=1, bitorder="little")
        out[:, b:c] = np.packbits(rows.learn, axis=1, bitorder="little")
        out[:, c:] = rows.domains
        return out

    def decode(self, records: Sequence[bytes]) -> Rows:
        """Records as `Rows`.

        Raises:
          DataError: a record has another width than such rows.
        """
        if wrong := {len(record) for record in records} - {self.row_bytes}:
            raise DataError(
                f"a record of {min(wrong)} bytes where rows of seq_len {self.seq_len} take {self.row_bytes}: "
                "the shard belongs to another data set or is damaged"
            )
        a, b, c, _ = self._bounds
        raw = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), self.row_bytes)
        return Rows(
            tokens=np.ascontiguousarray(raw[:, :a]).view(self.token_dtype),
            starts=_unpack(raw[:, a:b], self.row_tokens),
            learn=_unpack(raw[:, b:c], self.row_tokens),
            domains=raw[:, c:],
        )


def _unpack(bitmap: np.ndarray, width: int) -> np.ndarray:
    return np.unpackbits(bitmap, axis=1, count=width, bitorder="little").view(bool)


def to_batch(rows: Rows) -> Batch:
    """Splits rows into inputs and targets and restarts segments and positions at each document."""
    segments_BR = np.cumsum(rows.starts, axis=1, dtype=np.int32)
    # A segment's first token has nothing before it to be predicted from.
    weights_BR = rows.learn & ~rows.starts
    is_padding_BR = rows.domains == PADDING_DOMAIN
    if is_padding_BR.any():
        segments_BR *= ~is_padding_BR
        weights_BR &= ~is_padding_BR
    return Batch(
        inputs=rows.tokens[:, :-1].astype(np.int32),
        targets=rows.tokens[:, 1:].astype(np.int32),
        segments=segments_BR[:, :-1],
        positions=_positions(rows.starts)[:, :-1],
        weights=weights_BR[:, 1:].astype(np.float32),
        domains=rows.domains[:, 1:].astype(np.int32),
    )


def _positions(starts_BR: np.ndarray) -> np.ndarray:
    """Distance of each token from the start of its segment. Every row begins a segment, so rows can be chained."""
    begins = np.flatnonzero(starts_BR).astype(np.int32)
    lengths = np.diff(begins, append=np.int32(starts_BR.size))
    return (np.arange(starts_BR.size, dtype=np.int32) - np.repeat(begins, lengths)).reshape(starts_BR.shape)


def padding_rows(count: int, row_tokens: int) -> Rows:
    """Rows that hold nothing: they fill up a block's last batch and count in no loss."""
    shape = (count, row_tokens)
    starts = np.zeros(shape, bool)
    starts[:, :1] = True
    return Rows(np.zeros(shape, np.int32), starts, np.zeros(shape, bool), np.full(shape, PADDING_DOMAIN, np.uint8))
