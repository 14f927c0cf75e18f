"""A SentencePiece BPE model as a tokenizer. The model file is what counts; its Hugging Face form is derived from it."""

from collections.abc import Sequence

import numpy as np
import sentencepiece

from maxlm.errors import DataError
from maxlm.tokenizer import huggingface
from maxlm.tokenizer.base import MODEL_FILES, Tokenizer, surrogate_error
from maxlm.tokenizer.spm_proto import SPACE_MARK, USER_DEFINED, Model

MODEL_FILE = MODEL_FILES[0]


class SentencePieceTokenizer(Tokenizer):
    """BPE over characters, with bytes for those that have no piece."""

    kind = "sentencepiece"

    def __init__(self, model: bytes, vocab_size: int | None = None, where: object = "tokenizer"):
        """`model`: the bytes of a SentencePiece model file. `vocab_size`: None means the pieces, padded to 128.

        Raises:
          DataError: the bytes are no model, it lacks BOS or EOS, or it has more pieces than `vocab_size`.
        """
        self._processor, self._where = _processor(model, where), where
        sp = self._processor
        pieces = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
        self._adds_space = sp.encode("a", out_type=str)[0].startswith(SPACE_MARK)
        super().__init__(
            [self._bytes(i, piece) for i, piece in enumerate(pieces)],
            vocab_size,
            special={piece: i for i, piece in enumerate(pieces) if sp.is_control(i) or sp.is_unknown(i)},
            user_tokens=[piece.replace(SPACE_MARK, " ") for piece in Model(model).of_type(USER_DEFINED)],
            around=(sp.bos_id(), sp.eos_id(), sp.pad_id()),
            byte_ids=[sp.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)],
            model=model,
            where=where,
        )
        # The byte tokens that spell U+2581; none where the model has no bytes or puts a space before each text.
        mark_ids = [self.byte_ids[byte] for byte in SPACE_MARK.encode()]
        self._space_mark_ids = [] if self._adds_space or not all(map(sp.is_byte, mark_ids)) else mark_ids

    def __reduce__(self) -> tuple[type, tuple[bytes, int]]:
        return type(self), (self.model, self.vocab_size)

    def encode_batch(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        texts = list(texts)
        try:
            encoded = self._processor.encode(texts, num_threads=num_threads)
        except (RuntimeError, TypeError, UnicodeError) as error:
            raise surrogate_error(texts) or error from error
        if self._space_mark_ids:
            for i, text in enumerate(texts):
                if SPACE_MARK in text:
                    encoded[i] = self._encode_space_marks(text)
        return encoded

    def encode_arrays(self, texts: Sequence[bytes], bos: bool = False, eos: bool = False) -> list[np.ndarray]:
        # Arrays that SentencePiece fills itself take no Python object a token.
        texts = list(texts)
        encoded = self._processor.encode(texts, num_threads=1, return_type="numpy", add_bos=bos, add_eos=eos)
        if self._space_mark_ids:
            for i, text in enumerate(texts):
                if SPACE_MARK.encode() in text:
                    ids = self._encode_space_marks(text.decode())
                    encoded[i] = np.array([self.bos_id] * bos + ids + [self.eos_id] * eos, np.int32)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        text = super().decode(ids)
        return text[1:] if self._adds_space and text.startswith(" ") else text

    def files(self) -> dict[str, bytes | str]:
        model = Model(self.model)
        # Others' models that rewrite the text have no form that would be the same for every string.
        return {
            MODEL_FILE: self.model,
            **(huggingface.of_sentencepiece(model, self._where) if model.is_plain() else {}),
        }

    def _bytes(self, i: int, piece: str) -> bytes:
        if self._processor.is_byte(i):
            return bytes([int(piece[3:5], 16)])
        silent = self._processor.is_control(i) or self._processor.is_unknown(i) or self._processor.is_unused(i)
        return b"" if silent else piece.replace(SPACE_MARK, " ").encode()

    def _encode_space_marks(self, text: str) -> list[int]:
        """Encodes text that holds U+2581 itself: spelt in bytes, it survives."""
        first, *rest = self._processor.encode(text.split(SPACE_MARK), num_threads=1)
        for ids in rest:
            first = first + self._space_mark_ids + ids
        return first


def _processor(model: bytes, where: object) -> sentencepiece.SentencePieceProcessor:
    if not model:
        raise DataError(f"{where}: the file is empty; a SentencePiece model was expected")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, UnicodeDecodeError) as error:  # the latter: its own message quotes bytes that are no text
        reason = str(error).split("]")[-1].strip() or "it can't be parsed"
        raise DataError(f"{where}: damaged, or no SentencePiece model ({reason})") from error
