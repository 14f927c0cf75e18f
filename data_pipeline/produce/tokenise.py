"""Token ids of documents: encoded once a block, on all cores, and kept in a nameless scratch file.

Threads, not processes: SentencePiece lets go of the interpreter's lock while it encodes and hands the ids over as one
buffer a document, so that little is left to do under the lock, and no worker outlives a producer that was killed.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, NamedTuple

import numpy as np

from data_pipeline.mix.corpus import Corpus, Texts
from data_pipeline.produce.known import Known
from maxlm.errors import naming_full_disk
from maxlm.paths import PathLike, is_local
from maxlm.tokenizer.base import Tokenizer


class Encoded(NamedTuple):
    """Some documents' tokens, each document between BOS and EOS."""

    ordinals: np.ndarray
    tokens: np.ndarray  # int32 `[tokens]`, one document after the other
    lengths: np.ndarray  # int64 `[documents]`
    prompts: np.ndarray  # int64 `[documents]`, of these tokens, those of BOS and a prompt; 0 where there is none


class TokenSpool:
    """BOS, text, EOS of each document that was asked for, one after the other in a scratch file.

    The file has no name: whatever ends the process, the space is free again. Memory holds an index alone, of the
    documents that are there.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, dtype: np.dtype, scratch: PathLike, workers: int):
        """`dtype` of the ids; `scratch`: folder for the file; `workers`: threads, 0 for one per core."""
        self._corpus, self._tokenizer, self._dtype = corpus, tokenizer, dtype
        self._workers = workers or os.cpu_count() or 1
        self._scratch = scratch if is_local(scratch) else tempfile.gettempdir()
        self._open()

    def _open(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)
        self._written = 0  # tokens
        self._index = Known(3)  # offset, length, prompt

    def close(self) -> None:
        self._file.close()

    def clear(self) -> None:
        """Forgets all documents."""
        self._file.close()
        self._open()

    def add(self, ordinals: np.ndarray, check: Callable[[], None] = lambda: None) -> tuple[np.ndarray, np.ndarray]:
        """Encodes `ordinals`, which are ascending and not there yet.

        `check` is called between batches; what it raises ends the work.

        Returns:
          The tokens of each document, and how many of them are of its prompt, both int64 `[documents]`.

        Raises:
          DiskFullError: no space for the scratch file.
        """
        done = [np.empty((3, 0), np.int64)]
        for encoded in encode_batches(self._tokenizer, self._corpus.batches(ordinals), self._workers):
            check()
            with naming_full_disk("the tokens of a block", self._scratch):
                _write_all(self._file, encoded.tokens.astype(self._dtype).data.cast("B"))
            offsets = self._written + np.cumsum(encoded.lengths) - encoded.lengths
            done.append(np.stack([offsets, encoded.lengths, encoded.prompts]))
            self._written += len(encoded.tokens)
        columns = np.concatenate(done, axis=1)
        self._index.add(ordinals, *columns)
        return columns[1], columns[2]

    def find(self, ordinals: np.ndarray) -> np.ndarray:
        """Where documents begin, how many tokens they have, and how many of a prompt, int64 `[3, documents]`."""
        return self._index.find(ordinals)

    def read(self, offset: int, out: np.ndarray) -> None:
        """Fills `out` `[tokens]`, of the spool's dtype, with the tokens from `offset` on. Threads may read at once.

        A call a piece, and no mapped file: its pages would count as this process's memory.
        """
        raw, done = out.view(np.uint8).data, 0
        while done < len(raw):
            count = os.preadv(self._file.fileno(), [raw[done:]], offset * self._dtype.itemsize + done)
            if not count:
                raise OSError(f"the tokens of a block end before {offset + len(out)}")
            done += count


def encode_batches(tokenizer: Tokenizer, batches: Iterable[Texts], workers: int) -> Iterator[Encoded]:
    """Encodes batches on `workers` threads, in order, a few batches ahead of the reader."""
    waiting: deque[Future[Encoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="tokenise") as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(_encode, tokenizer, batch))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _write_all(file: IO[bytes], data: memoryview) -> None:
    """Unbuffered, so that closing the file of a full disk has nothing left to write."""
    while data:
        data = data[file.write(data) :]


def _encode(tokenizer: Tokenizer, batch: Texts) -> Encoded:
    """A prompt and its completion are encoded apart, so that the boundary falls between two tokens."""
    texts, prompts = list(batch.texts), np.zeros(len(batch.texts), np.int64)
    prompted = np.flatnonzero(batch.prompts).tolist()
    heads = tokenizer.encode_arrays([texts[i][: batch.prompts[i]] for i in prompted], bos=True)
    tails = tokenizer.encode_arrays([texts[i][batch.prompts[i] :] for i in prompted], eos=True)
    for i in prompted:
        texts[i] = b""
    encoded = tokenizer.encode_arrays(texts, bos=True, eos=True)
    for i, head, tail in zip(prompted, heads, tails, strict=True):
        encoded[i], prompts[i] = np.concatenate([head, tail]), len(head)
    lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
    return Encoded(batch.ordinals, np.concatenate(encoded), lengths, prompts)
