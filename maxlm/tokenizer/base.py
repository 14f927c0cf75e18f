"""What a tokenizer is, whatever made it: text to ids and back, and the bytes that each id stands for.

The rows of the embedding are more than the pieces: spare slots and padding to a multiple of 128 follow them. No text
ever becomes such a row, nor a special token (BOS, EOS, padding, roles in a chat), which whoever needs them adds.
"""

import abc
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, write_atomic, write_json

INFO_FILE = "tokenizer_info.json"
MODEL_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json")  # of both kinds
MOST_ROWS = 1 << 22  # of an embedding: sixteen times the largest vocabularies; what a folder says is not made room for
ROW_MULTIPLE = 128  # a vocabulary of whole tiles keeps the output matrix fast on any accelerator
# With Python's "surrogateescape" a byte that is no UTF-8 stands as one of these.
_INVALID = re.compile("([\udc80-\udcff]+)")


def padded_rows(pieces: int) -> int:
    """The smallest multiple of 128 that holds `pieces`."""
    return -(-pieces // ROW_MULTIPLE) * ROW_MULTIPLE


def digest_of(model: bytes, vocab_size: int) -> str:
    """SHA-256 over a model file's bytes and the number of rows: what makes two tokenizers the same."""
    return hashlib.sha256(model + f"\nvocab_size={vocab_size}".encode()).hexdigest()


class Tokenizer(abc.ABC):
    """Encodes and decodes text. `load_tokenizer` opens one; instances may be used by several threads at once.

    Attributes:
      kind: "sentencepiece" or "bytelevel".
      vocab_size: rows of the embedding, spare slots and padding included.
      num_pieces: of them, the rows that have a piece; ids from here up occur in no text.
      special: ids of the tokens that no text becomes, by name.
      user_tokens: strings that are one token wherever they stand.
      bos_id: put before each document.
      eos_id: put after each document.
      pad_id: fills places that hold no token.
      byte_ids: the id of each single byte, `[256]`.
      digest: SHA-256 of the model file's bytes and vocab_size.
      bos_before_prompts: whether a text to be continued begins with BOS, as all do that we train on.
    """

    kind: str
    bos_before_prompts = True

    def __init__(
        self,
        bytes_of: Sequence[bytes],
        vocab_size: int | None,
        *,
        special: Mapping[str, int],
        user_tokens: Sequence[str],
        around: tuple[int, int, int],
        byte_ids: Sequence[int],
        model: bytes,
        where: object,
    ):
        """`bytes_of`: what each piece stands for. `around`: BOS, EOS, padding. `vocab_size` None: pieces, padded.

        Raises:
          DataError: it lacks BOS or EOS, or has more pieces than `vocab_size`.
        """
        self.num_pieces = len(bytes_of)
        self.vocab_size = padded_rows(self.num_pieces) if vocab_size is None else vocab_size
        if not 0 < self.vocab_size <= MOST_ROWS:
            raise DataError(f"{where}: {self.vocab_size} rows; a vocabulary has 1 to {MOST_ROWS:,}")
        if self.num_pieces > self.vocab_size:
            raise DataError(f"{where}: {self.num_pieces} pieces do not fit into {self.vocab_size} rows")
        self.bos_id, self.eos_id, pad_id = around
        if self.bos_id < 0 or self.eos_id < 0:
            raise DataError(f"{where}: the model has no BOS or no EOS token; documents could not be told apart")
        # Padding counts in no loss, so a model without a token for it may use another.
        self.pad_id = pad_id if pad_id >= 0 else self.eos_id
        self.special, self.user_tokens = dict(special), tuple(user_tokens)
        self.byte_ids = tuple(byte_ids)
        self.digest = digest_of(model, self.vocab_size)
        self.model = model
        self._bytes_of = [*bytes_of, *[b""] * (self.vocab_size - self.num_pieces)]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS. The name of a special token in it is text like any other.

        Raises:
          DataError: the text holds a lone surrogate, which no UTF-8 can carry.
        """
        return self.encode_batch([text])[0]

    def prompt(self, text: str) -> list[int]:
        """The ids of a text that a model is to continue. Never none. Raises DataError like `encode`."""
        ids = self.encode(text)
        return [self.bos_id, *ids] if self.bos_before_prompts or not ids else ids

    @abc.abstractmethod
    def encode_batch(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        """The ids of each text. The result doesn't depend on `num_threads`. Raises DataError like `encode`."""

    def encode_arrays(self, texts: Sequence[bytes], bos: bool = False, eos: bool = False) -> list[np.ndarray]:
        """The ids of texts in UTF-8, those of `encode_batch`, as int32 arrays, with BOS and EOS around where asked."""
        encoded = self.encode_batch([text.decode() for text in texts])
        return [np.array([self.bos_id] * bos + ids + [self.eos_id] * eos, np.int32) for ids in encoded]

    def encode_bytes(self, raw: bytes) -> list[int]:
        """The ids of bytes, UTF-8 or not: what is none goes byte by byte."""
        ids: list[int] = []
        for number, part in enumerate(_INVALID.split(raw.decode("utf-8", "surrogateescape"))):
            if number % 2:
                ids += [self.byte_ids[byte] for byte in part.encode("utf-8", "surrogateescape")]
            elif part:
                ids += self.encode(part)
        return ids

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of `ids`. Special tokens, and rows without a piece, stand for nothing.

        Raises:
          ValueError: an id is outside [0, vocab_size).
        """
        ids = [int(i) for i in ids]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise ValueError(f"ids from {min(ids)} to {max(ids)}; this tokenizer's are 0 to {self.vocab_size - 1}")
        return b"".join([self._bytes_of[i] for i in ids])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD. Raises ValueError like `decode_bytes`."""
        return self.decode_bytes(ids).decode(errors="replace")

    def token_bytes(self) -> np.ndarray:
        """UTF-8 bytes that each id stands for, int32 `[vocab_size]`; 0 for special ids and rows without a piece.

        Summed over the ids of a text this is the text's length in bytes: the denominator of bits per byte.
        """
        return np.array([len(raw) for raw in self._bytes_of], np.int32)

    def pieces(self) -> Iterator[bytes]:
        """The bytes that each piece stands for, in the order of the ids; empty for special tokens."""
        return iter(self._bytes_of[: self.num_pieces])

    @abc.abstractmethod
    def files(self) -> dict[str, bytes | str]:
        """What a folder of this tokenizer holds beside tokenizer_info.json, by name."""

    def save(self, folder: PathLike, **notes: Any) -> None:
        """Writes the model, its Hugging Face form, and tokenizer_info.json, which takes `notes` along."""
        folder = as_path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = self.files()
        for name in MODEL_FILES:
            if name in files:
                write_atomic(folder / name, files[name])
            else:  # of a tokenizer of the other kind that stood here
                (folder / name).unlink(missing_ok=True)
        self.describe(folder, **notes)

    def describe(self, folder: PathLike, **notes: Any) -> None:
        """Writes tokenizer_info.json, by which `load_tokenizer` knows the files beside it, with `notes`."""
        info = {
            "kind": self.kind,
            "vocab_size": self.vocab_size,
            "pieces": self.num_pieces,
            "digest": self.digest,
            "special_tokens": self.special,
            "user_tokens": list(self.user_tokens),
            "bos_before_prompts": self.bos_before_prompts,
        }
        write_json(as_path(folder) / INFO_FILE, info | notes)


def surrogate_error(texts: Sequence[str]) -> DataError | None:
    """The error for the first lone surrogate in `texts`; None where there is none."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            around = text[max(0, error.start - 20) : error.end + 20]
            return DataError(f"text with a lone surrogate, which is no Unicode: {around!r}")
    return None
