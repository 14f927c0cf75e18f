"""Documents into rows: shuffled, one after the other, cut every seq_len + 1 tokens. Pure: arrays in, arrays out.

Nothing is lost or padded between: a document that a row's end cuts goes on in the next row, as a segment of its own.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipeline.mix.hashing import shuffled
from maxlm.blocks.format import PADDING_DOMAIN, Rows
from maxlm.blocks.manifest import TokenAccount


class Pieces(NamedTuple):
    """The documents of a block, one entry a use. All but `tokens` are `[uses]`."""

    tokens: np.ndarray  # integer `[tokens]`, of all documents, in any order
    offsets: np.ndarray  # int64, where in `tokens` the document begins
    lengths: np.ndarray  # int64, tokens of the document, BOS and EOS counted
    kept: np.ndarray  # int64, of them, tokens that go into rows; the rest is cut off at the end
    domains: np.ndarray  # uint8
    sources: np.ndarray  # int32


def cut(lengths: np.ndarray, domains: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """How many tokens of each use are kept so that no domain exceeds its budget, int64 `[uses]`."""
    kept = lengths.copy()
    for domain, budget in enumerate(budgets):
        members = np.flatnonzero(domains == domain)
        before = np.cumsum(lengths[members]) - lengths[members]
        kept[members] = np.clip(budget - before, 0, lengths[members])
    return kept


def account(pieces: Pieces, capacity: int) -> TokenAccount:
    """Where the tokens go when `pieces` are packed into rows with `capacity` places."""
    selected, written = int(pieces.lengths.sum()), int(pieces.kept.sum())
    return TokenAccount(selected, written, truncated=selected - written, padded=capacity - written)


def tokens_by(names: tuple[str, ...], index: np.ndarray, kept: np.ndarray) -> dict[str, int]:
    """Kept tokens under each name that has any, in the order of the names."""
    sums = np.zeros(len(names), np.int64)
    np.add.at(sums, index, kept)
    return {name: int(tokens) for name, tokens in zip(names, sums, strict=True) if tokens}


def pack(
    pieces: Pieces,
    rows: int,
    row_tokens: int,
    *,
    seed: int,
    block: int,
    pad_id: int = 0,
    learn: bool = True,
    chunk_tokens: int = 4_000_000,
) -> Iterator[Rows]:
    """Yields `rows` rows, about `chunk_tokens` at a time: documents of all domains, shuffled by (seed, block).

    Places left over at the end are padding. `learn`: whether the loss counts the documents' tokens.

    Raises:
      ValueError: `pieces` keep more tokens than the rows have places.
    """
    if int(pieces.kept.sum()) > rows * row_tokens:
        raise ValueError(f"{int(pieces.kept.sum())} tokens do not fit into {rows} rows of {row_tokens}")
    order = shuffled(len(pieces.kept), seed, block, "pack")
    order = order[pieces.kept[order] > 0]
    begins = np.concatenate([[0], np.cumsum(pieces.kept[order])])  # place of each document in the stream of tokens
    chunk_rows = max(1, chunk_tokens // row_tokens)
    for row in range(0, rows, chunk_rows):
        count = min(chunk_rows, rows - row)
        yield _chunk(pieces, order, begins, row * row_tokens, (count, row_tokens), pad_id, learn)


def _chunk(
    pieces: Pieces,
    order: np.ndarray,
    begins: np.ndarray,
    start: int,
    shape: tuple[int, int],
    pad_id: int,
    learn: bool,
) -> Rows:
    """The rows that hold the stream's tokens from `start` on."""
    size = shape[0] * shape[1]
    first = int(np.searchsorted(begins, start, side="right")) - 1
    last = int(np.searchsorted(begins, start + size, side="left"))  # documents [first, last) touch this chunk
    tokens = np.full(size, pad_id, pieces.tokens.dtype)
    domains = np.full(size, PADDING_DOMAIN, np.uint8)
    starts = np.zeros(size, bool)
    for number, i in enumerate(order[first:last], start=first):
        begin, end = max(int(begins[number]), start), min(int(begins[number + 1]), start + size)
        offset = int(pieces.offsets[i]) + begin - int(begins[number])
        tokens[begin - start : end - start] = pieces.tokens[offset : offset + end - begin]
        domains[begin - start : end - start] = pieces.domains[i]
        starts[begin - start] = True
    starts_2d = starts.reshape(shape)
    starts_2d[:, 0] = True
    return Rows(
        tokens=tokens.reshape(shape),
        starts=starts_2d,
        learn=np.logical_and(domains != PADDING_DOMAIN, learn).reshape(shape),
        domains=domains.reshape(shape),
    )
