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
from data_pipeline.produce.dialogue import Dialogues, Kind
from data_pipeline.produce.known import Known
from maxlm.errors import naming_full_disk
from maxlm.paths import PathLike, is_local
from maxlm.tokenizer.base import Tokenizer


class Encoded(NamedTuple):
    """Some documents' tokens: texts between BOS and EOS, conversations as dialogue.py has them."""

    ordinals: np.ndarray
    # int32, one document after the other; behind a conversation's tokens a bitmap of those that are learnt, 16 a word
    words: np.ndarray
    begins: np.ndarray  # int64 `[documents]`, the place of its first token
    lengths: np.ndarray  # int64 `[documents]`, tokens
    masks: np.ndarray  # int64 `[documents]`, the place of its bitmap; -1: all is learnt
    seconds: np.ndarray  # int64 `[documents]`, the token that begins a pair's second segment; 0: none
    lost: np.ndarray  # int64 `[documents]`, tokens beyond a row, or UNUSABLE: Told.lost
    kinds: np.ndarray  # int64 `[documents]`, as Kind


class TokenSpool:
    """The tokens of each document that was asked for, one after the other in a scratch file.

    The file has no name: whatever ends the process, the space is free again. Memory holds an index alone, of the
    documents that are there.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Tokenizer,
        dialogues: Dialogues,
        dtype: np.dtype,
        scratch: PathLike,
        workers: int,
    ):
        """`dtype` of the ids; `scratch`: folder for the file; `workers`: threads, 0 for one per core."""
        self._corpus, self._tokenizer, self._dialogues, self._dtype = corpus, tokenizer, dialogues, dtype
        self._workers = workers or os.cpu_count() or 1
        self._scratch = scratch if is_local(scratch) else tempfile.gettempdir()
        self._open()

    def _open(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self._scratch, buffering=0)
        self._written = 0  # words
        self._index = Known(4)  # where it begins, its length, mask, second

    def close(self) -> None:
        self._file.close()

    def clear(self) -> None:
        """Forgets all documents."""
        self._file.close()
        self._open()

    def add(self, ordinals: np.ndarray, check: Callable[[], None] = lambda: None) -> np.ndarray:
        """Encodes `ordinals`, which are ascending and not there yet.

        `check` is called between batches; what it raises ends the work.

        Returns:
          Of each document its tokens, those that are lost (Told.lost) and its Kind, int64 `[3, documents]`.

        Raises:
          DataError: a document can't be read, or a conversation was edited.
          ConfigError: a chat, and no template.
          DiskFullError: no space for the scratch file.
        """
        places, told = [np.empty((4, 0), np.int64)], [np.empty((3, 0), np.int64)]
        batches = self._corpus.batches(ordinals)
        for encoded in encode_batches(self._tokenizer, self._dialogues, batches, self._workers):
            check()
            with naming_full_disk("the tokens of a block", self._scratch):
                _write_all(self._file, encoded.words.astype(self._dtype).data.cast("B"))
            masks = np.where(encoded.masks < 0, -1, self._written + encoded.masks)
            places.append(np.stack([self._written + encoded.begins, encoded.lengths, masks, encoded.seconds]))
            told.append(np.stack([encoded.lengths, encoded.lost, encoded.kinds]))
            self._written += len(encoded.words)
        self._index.add(ordinals, *np.concatenate(places, axis=1))
        return np.concatenate(told, axis=1)

    def find(self, ordinals: np.ndarray) -> np.ndarray:
        """Of each document where it begins, its tokens, and as in `Encoded` mask and second, int64 `[4, documents]`."""
        return self._index.find(ordinals)

    def read(self, offset: int, out: np.ndarray) -> None:
        """Fills `out` `[tokens]`, of the spool's dtype, with the words from `offset` on. Threads may read at once.

        A call a piece, and no mapped file: its pages would count as this process's memory.
        """
        raw, done = out.view(np.uint8).data, 0
        while done < len(raw):
            count = os.preadv(self._file.fileno(), [raw[done:]], offset * self._dtype.itemsize + done)
            if not count:
                raise OSError(f"the tokens of a block end before {offset + len(out)}")
            done += count


def encode_batches(
    tokenizer: Tokenizer, dialogues: Dialogues, batches: Iterable[Texts], workers: int
) -> Iterator[Encoded]:
    """Encodes batches on `workers` threads, in order, a few batches ahead of the reader."""
    waiting: deque[Future[Encoded]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="tokenise") as pool:
        try:
            for batch in batches:
                waiting.append(pool.submit(_encode, tokenizer, dialogues, batch))
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


def _encode(tokenizer: Tokenizer, dialogues: Dialogues, batch: Texts) -> Encoded:
    texts, count = list(batch.texts), len(batch.texts)
    told = {i: said for i, said in enumerate(batch.conversations) if said is not None}
    for i in told:
        texts[i] = b""
    words = tokenizer.encode_arrays(texts, bos=True, eos=True)
    lengths = np.fromiter(map(len, words), np.int64, count)
    masks, seconds, lost, kinds = np.full(count, -1), *np.zeros((3, count), np.int64)
    for (i, conversation), found in zip(told.items(), dialogues.encode(list(told.values())), strict=True):
        words[i], lengths[i] = np.concatenate([found.ids, _as_words(found.learn)]), len(found.ids)
        seconds[i], lost[i] = found.second, found.lost
        kinds[i] = Kind.PAIR if conversation.chosen else Kind.CONVERSATION
    taken = np.fromiter(map(len, words), np.int64, count)
    begins = np.cumsum(taken) - taken
    for i in told:
        masks[i] = begins[i] + lengths[i]
    return Encoded(batch.ordinals, np.concatenate(words), begins, lengths, masks, seconds, lost, kinds)


def _as_words(learn: np.ndarray) -> np.ndarray:
    """A bitmap in words of 16 bits, int32; `learnt_of` undoes it."""
    packed = np.packbits(learn, bitorder="little")
    return np.pad(packed, (0, len(packed) % 2)).view("<u2").astype(np.int32)


def learnt_of(words: np.ndarray, count: int) -> np.ndarray:
    """The first `count` bits of a bitmap's words, bool `[count]`."""
    return np.unpackbits(words.astype("<u2").view(np.uint8), count=count, bitorder="little").view(bool)
