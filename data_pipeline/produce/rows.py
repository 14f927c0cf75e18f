"""Rows as they are written, made from a layout and the documents' tokens, some at a time."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from data_pipeline.produce.pack import Layout
from data_pipeline.produce.tokenise import learnt_of
from maxlm.blocks.format import PADDING_DOMAIN, Rows

_CHUNK_TOKENS = 1_000_000  # places at a time: some 30 MB while a chunk is being made


class Documents(NamedTuple):
    """The documents of a layout, one entry a use; their tokens stand somewhere, one document after the other."""

    read: Callable[[int, np.ndarray], None]  # fills an array `[words]` with the words from a place on
    dtype: np.dtype  # of tokens, and words
    offsets: np.ndarray  # int64, the place where the document begins
    masks: np.ndarray  # int64, the place of a bitmap of what is learnt of it, 16 tokens a word; -1: all is
    seconds: np.ndarray  # int64, the token that begins a segment of its own (a pair's second answer); 0: none
    domains: np.ndarray  # uint8


def rows_of(
    documents: Documents,
    layout: Layout,
    row_tokens: int,
    start: int,
    end: int,
    pad_id: int,
    chunk_tokens: int = _CHUNK_TOKENS,
) -> Iterator[Rows]:
    """The rows [start, end) of a layout, about `chunk_tokens` at a time. Places without a token are padding."""
    step = max(1, chunk_tokens // row_tokens)
    for first in range(start, end, step):
        yield _chunk(documents, layout, row_tokens, first, min(first + step, end), pad_id)


def _chunk(documents: Documents, layout: Layout, row_tokens: int, start: int, end: int, pad_id: int) -> Rows:
    bounds = np.searchsorted(layout.row, [start, end])
    which = np.arange(*bounds)
    use, begin, length, repeated = layout.pieces.at(which)
    row, column = layout.row[which], layout.column[which]
    shape = (end - start, row_tokens)
    tokens = np.full(shape, pad_id, documents.dtype)
    starts, learn = np.zeros(shape, bool), np.zeros(shape, bool)
    domains = np.full(shape, PADDING_DOMAIN, np.uint8)
    place = (row - start) * row_tokens + column
    starts.ravel()[place] = True
    starts[:, 0] = True
    flat = tokens.ravel()
    for where, count, offset in zip(
        place.tolist(), length.tolist(), (documents.offsets[use] + begin).tolist(), strict=True
    ):
        documents.read(offset, flat[where : where + count])
    # One entry a token from here on; successive numbers within a piece, from a start of its own.
    counted = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    places = np.repeat(place, length) + counted
    domains.ravel()[places] = np.repeat(documents.domains[use], length)
    learn.ravel()[places] = counted >= np.repeat(repeated, length)
    flat_learn = learn.ravel()
    for i in np.flatnonzero(documents.masks[use] >= 0).tolist():
        where = slice(place[i], place[i] + length[i])
        flat_learn[where] &= _learnt(documents, int(documents.masks[use[i]]), int(begin[i]), int(length[i]))
    second = documents.seconds[use] - begin
    within = (second > 0) & (second < length)
    starts.ravel()[place[within] + second[within]] = True
    return Rows(tokens, starts, learn, domains)


def _learnt(documents: Documents, mask: int, begin: int, length: int) -> np.ndarray:
    """Which of a document's tokens [begin, begin + length) are learnt, bool `[length]`."""
    words = np.empty(-(-(begin + length) // 16), documents.dtype)
    documents.read(mask, words)
    return learnt_of(words, begin + length)[begin:]
