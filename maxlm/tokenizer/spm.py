"""A SentencePiece model as the tokenizer of a data set: text to ids and back, and the bytes each token stands for.

The rows of the embedding are more than the model's pieces: spare slots and padding to a multiple of 128 follow them.
No text ever becomes such a row, nor BOS, EOS or padding: those are added by whoever needs them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sentencepiece

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path, read_json, write_atomic, write_json

MODEL_FILE = "tokenizer.model"
INFO_FILE = "tokenizer_info.json"
ROW_MULTIPLE = 128  # a vocabulary of whole tiles keeps the output matrix fast on any accelerator
# SentencePiece writes a space as U+2581. A U+2581 of the text itself would come back as a space.
_SPACE_MARK = "\u2581"
_SPACE_MARK_BYTES = _SPACE_MARK.encode()


def padded_rows(pieces: int) -> int:
    """The smallest multiple of 128 that holds `pieces`."""
    return -(-pieces // ROW_MULTIPLE) * ROW_MULTIPLE


def digest_of(model: bytes, vocab_size: int) -> str:
    """SHA-256 over a model file's bytes and the number of rows: what makes two tokenizers the same."""
    return hashlib.sha256(model + f"\nvocab_size={vocab_size}".encode()).hexdigest()


class Tokenizer:
    """Encodes and decodes text. `load` makes one; instances may be used by several threads at once.

    Attributes:
      vocab_size: rows of the embedding, spare slots and padding included.
      num_pieces: of them, the rows that have a piece; ids from here up occur in no text.
      bos_id: put before each document.
      eos_id: put after each document.
      pad_id: fills places that hold no token.
      digest: SHA-256 of the model file's bytes and vocab_size.
    """

    def __init__(self, model: bytes, vocab_size: int | None = None, where: object = "tokenizer"):
        """`model`: the bytes of a SentencePiece model file. `vocab_size`: None means the pieces, padded to 128.

        Raises:
          DataError: the bytes are no model, it lacks BOS or EOS, or it has more pieces than `vocab_size`.
        """
        self._processor = _processor(model, where)
        self.num_pieces: int = self._processor.get_piece_size()
        self.vocab_size = padded_rows(self.num_pieces) if vocab_size is None else vocab_size
        if self.num_pieces > self.vocab_size:
            raise DataError(f"{where}: {self.num_pieces} pieces do not fit into {self.vocab_size} rows")
        self.bos_id: int = self._processor.bos_id()
        self.eos_id: int = self._processor.eos_id()
        if self.bos_id < 0 or self.eos_id < 0:
            raise DataError(f"{where}: the model has no BOS or no EOS token; documents could not be told apart")
        # Padding counts in no loss, so a model without a token for it may use another.
        self.pad_id: int = self._processor.pad_id() if self._processor.pad_id() >= 0 else self.eos_id
        self.digest = digest_of(model, self.vocab_size)
        self._model = model
        self._space_mark_ids = self._find_space_mark_ids()

    def __reduce__(self) -> tuple[type, tuple[bytes, int]]:
        return type(self), (self._model, self.vocab_size)

    @classmethod
    def load(cls, path: PathLike) -> "Tokenizer":
        """Reads a tokenizer's folder (tokenizer.model, tokenizer_info.json) or a bare SentencePiece model file.

        Raises:
          DataError: missing, damaged, or not the model that its tokenizer_info.json describes.
        """
        path = as_path(path)
        model_path = path / MODEL_FILE if path.is_dir() else path
        if not model_path.exists():
            raise DataError(f"{model_path}: no such file; maxlm-data tokenizer trains a tokenizer")
        model, info_path = model_path.read_bytes(), model_path.parent / INFO_FILE
        if not info_path.exists():
            return cls(model, where=model_path)
        info = read_json(info_path, "description of a tokenizer")
        rows, digest = info.get("vocab_size"), info.get("digest")
        if not isinstance(rows, int) or digest != digest_of(model, rows):
            raise DataError(f"{model_path}: damaged, or not the model that {info_path.name} beside it describes")
        return cls(model, rows, where=model_path)

    def save(self, folder: PathLike, **notes: Any) -> None:
        """Writes tokenizer.model and tokenizer_info.json, which takes `notes` along."""
        folder = as_path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / MODEL_FILE, self._model)
        info = {"vocab_size": self.vocab_size, "pieces": self.num_pieces, "digest": self.digest, **notes}
        write_json(folder / INFO_FILE, info)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS.

        Raises:
          DataError: the text holds a lone surrogate, which no UTF-8 can carry.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        """The ids of each text. The result doesn't depend on `num_threads`. Raises DataError like `encode`."""
        texts = list(texts)
        try:
            encoded = self._processor.encode(texts, num_threads=num_threads)
        except (RuntimeError, TypeError, UnicodeError) as error:
            if not _lone_surrogate(texts):
                raise
            raise DataError(f"text with a lone surrogate, which is no Unicode: {_lone_surrogate(texts)!r}") from error
        if self._space_mark_ids:
            for i, text in enumerate(texts):
                if _SPACE_MARK in text:
                    encoded[i] = self._encode_space_marks(text)
        return encoded

    def encode_arrays(self, texts: Sequence[bytes], bos: bool = False, eos: bool = False) -> list[np.ndarray]:
        """The ids of texts in UTF-8, each an int32 array, with BOS before and EOS after them where asked.

        The ids are those of `encode_batch`; arrays that SentencePiece fills itself take no Python object a token.
        """
        texts = list(texts)
        encoded = self._processor.encode(texts, num_threads=1, return_type="numpy", add_bos=bos, add_eos=eos)
        if self._space_mark_ids:
            for i, text in enumerate(texts):
                if _SPACE_MARK_BYTES in text:
                    ids = self._encode_space_marks(text.decode())
                    encoded[i] = np.array([self.bos_id] * bos + ids + [self.eos_id] * eos, np.int32)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`. Control tokens, and rows without a piece, stand for nothing.

        Raises:
          ValueError: an id is outside [0, vocab_size).
        """
        ids = [int(i) for i in ids]
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise ValueError(f"ids from {min(ids)} to {max(ids)}; this tokenizer's are 0 to {self.vocab_size - 1}")
        return self._processor.decode([i for i in ids if i < self.num_pieces])

    def token_bytes(self) -> np.ndarray:
        """UTF-8 bytes that each id stands for, int32 `[vocab_size]`; 0 for special ids and rows without a piece.

        Summed over the ids of a text this is the text's length in bytes: the denominator of bits per byte.
        """
        sizes = np.zeros(self.vocab_size, np.int32)
        for i in range(self.num_pieces):
            if self._processor.is_byte(i):
                sizes[i] = 1
            elif not (self._processor.is_control(i) or self._processor.is_unknown(i) or self._processor.is_unused(i)):
                sizes[i] = len(self._processor.id_to_piece(i).replace(_SPACE_MARK, " ").encode())
        return sizes

    def pieces(self) -> Iterator[str]:
        """The pieces in the order of their ids, spaces written as U+2581 as SentencePiece does."""
        return (self._processor.id_to_piece(i) for i in range(self.num_pieces))

    def _find_space_mark_ids(self) -> list[int]:
        """The byte tokens that spell U+2581; none where the model has no bytes or puts a space before each text."""
        adds_prefix = self._processor.encode("a", out_type=str)[0].startswith(_SPACE_MARK)
        ids = [self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE_MARK.encode()]
        return [] if adds_prefix or not all(self._processor.is_byte(i) for i in ids) else ids

    def _encode_space_marks(self, text: str) -> list[int]:
        """Encodes text that holds U+2581 itself: spelt in bytes, it survives."""
        first, *rest = self._processor.encode(text.split(_SPACE_MARK), num_threads=1)
        for ids in rest:
            first = first + self._space_mark_ids + ids
        return first


def _processor(model: bytes, where: object) -> sentencepiece.SentencePieceProcessor:
    if not model:
        raise DataError(f"{where}: the file is empty; a SentencePiece model was expected")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError as error:  # SentencePiece knows no other kind
        reason = str(error).split("]")[-1].strip()
        raise DataError(f"{where}: damaged, or no SentencePiece model ({reason})") from error


def _lone_surrogate(texts: list[str]) -> str:
    """Some text around the first lone surrogate; "" where there is none."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return text[max(0, error.start - 20) : error.end + 20]
    return ""
