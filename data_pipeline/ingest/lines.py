"""Streams of bytes cut into lines, in any encoding, in bounded memory."""

import codecs
from collections.abc import Iterator
from io import BufferedIOBase
from itertools import chain

from data_pipeline.ingest import encodings
from data_pipeline.ingest.storage import DAMAGED

_CHUNK = 1 << 20
_NO_TEXT = "\udcff"  # stands for bytes that are no text; no UTF-8 has it, so that its row is found out


def chunks_of(stream: BufferedIOBase, size_bytes: int = -1) -> Iterator[bytes]:
    """What a stream holds, or the next `size_bytes` of it."""
    # read1: read would lose what it already has when it meets the damage in a packed file.
    while chunk := stream.read1(_CHUNK if size_bytes < 0 else min(_CHUNK, size_bytes)):
        yield chunk
        if size_bytes >= 0:
            size_bytes -= len(chunk)


class Kept:
    """Chunks of a stream up to a damage, whose error is kept until what came before it has been read."""

    def __init__(self, chunks: Iterator[bytes]):
        self._chunks = chunks
        self.error: Exception | None = None
        self._rest, self._read, self._place = b"", 0, 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.error is not None:
            raise StopIteration
        try:
            return next(self._chunks)
        except DAMAGED as error:
            self.error = error
            raise StopIteration from error

    def read(self, size_bytes: int) -> bytes:
        """At most so many of the next bytes, for what reads files."""
        if self._read == len(self._rest):
            self._rest, self._read = next(self, b""), 0
        part = self._rest[self._read : self._read + size_bytes]
        self._read += len(part)
        self._place += len(part)
        return part

    def tell(self) -> int:
        """How many bytes `read` has given."""
        return self._place


def lines_of(chunks: Iterator[bytes], limit: int) -> Iterator[bytes | None]:
    """Lines without their newlines; None for one longer than `limit` bytes, of which little more is ever held."""
    held: list[bytes] = []
    held_bytes = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        held_bytes += len(first)
        if held_bytes <= limit:
            held.append(first)
        else:
            held.clear()
        if others:
            yield b"".join(held) if held_bytes <= limit else None
            for line in others[:-1]:
                yield line if len(line) <= limit else None
            held, held_bytes = [others[-1]], len(others[-1])
    if held_bytes:
        yield b"".join(held) if held_bytes <= limit else None


def as_utf8(chunks: Iterator[bytes], encoding: str, guess: bool = False) -> tuple[str, Iterator[bytes]]:
    """The encoding of a text, and the text in UTF-8 without a byte-order mark.

    What isn't text in its encoding comes out as what is none in UTF-8 either: its line is bad, its neighbours are not.

    Args:
      encoding: a codec of Python's; "": what a byte-order mark names, else UTF-8.
      guess: where `encoding` is "" and it's no UTF-8, tell it by its beginning.
    """
    head = next(chunks, b"")
    if guess and not encoding and not encodings.by_mark(head):
        kept, taken = Kept(chunks), [head]
        while sum(map(len, taken)) < encodings.SNIFF_BYTES and (chunk := next(kept, b"")):
            taken.append(chunk)
        head, chunks = b"".join(taken), _with_error(kept)
        encoding = encodings.tell(head, whole=len(head) < encodings.SNIFF_BYTES)
    name = encodings.by_mark(head) or encoding or "utf-8"
    whole = chain([head], chunks)
    return name, _plain_utf8(whole) if is_utf8(name) else _recoded(whole, name)


def _with_error(kept: Kept) -> Iterator[bytes]:
    """The chunks, and in its place the damage that ended them."""
    yield from kept
    if kept.error is not None:
        raise kept.error


def is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _plain_utf8(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    yield from chunks


def _recoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors=NO_TEXT)
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "surrogatepass")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogatepass")


def _mark_as_no_text(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _NO_TEXT, error.end


NO_TEXT = "maxlm_no_text"  # the name of that handler of errors among Python's
codecs.register_error(NO_TEXT, _mark_as_no_text)
