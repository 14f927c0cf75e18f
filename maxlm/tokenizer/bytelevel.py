"""Byte-level BPE as a tokenizer: tokenizer.json is the model, tokenizer_config.json names its special tokens.

The tokenizers of GPT-2, GPT-4, Llama 3 and Qwen are of this kind, and a folder of theirs is read like one of ours.
"""

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Inner

from maxlm.errors import DataError
from maxlm.paths import parse_json
from maxlm.tokenizer import bpe, huggingface
from maxlm.tokenizer.base import MOST_ROWS, Tokenizer, surrogate_error

# GPT-2's alphabet: bytes that print as themselves, the other 68 moved up behind U+0100, in their order.
_PLAIN = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_MOVED = [byte for byte in range(256) if byte not in _PLAIN]
SIGN_OF_BYTE = {**{byte: chr(byte) for byte in _PLAIN}, **{byte: chr(0x100 + i) for i, byte in enumerate(_MOVED)}}
_BYTE_OF_SIGN = {sign: byte for byte, sign in SIGN_OF_BYTE.items()}


def pattern(digits: int) -> str:
    """What a text is split by before bytes are merged; no token crosses a split.

    A contraction; up to `digits` digits; a run of Han; a word of other letters with the sign or space before it; signs
    with the line ends behind them; line ends with the blanks before; blanks, the last left to the word that follows.
    """
    return "|".join(
        [
            r"'(?i:s|t|d|m|ll|re|ve)(?![\p{L}\p{M}])",
            rf"\p{{N}}{{1,{digits}}}",
            r"\p{Han}+",
            r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}&&[^\p{Han}]]+",
            r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    )


def pre_tokenizer(digits: int) -> pre_tokenizers.PreTokenizer:
    """Splits by `pattern` and turns bytes into GPT-2's alphabet."""
    split = pre_tokenizers.Split(Regex(pattern(digits)), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def signs(raw: bytes) -> str:
    """Bytes in GPT-2's alphabet, as the vocabulary writes them."""
    return "".join(SIGN_OF_BYTE[byte] for byte in raw)


def unsigned(piece: str) -> bytes | None:
    """The bytes of a piece of the vocabulary; None where it is not of that alphabet."""
    found = [_BYTE_OF_SIGN.get(sign, -1) for sign in piece]
    return None if -1 in found else bytes(found)


def assemble(special: Sequence[str], user_tokens: Sequence[str], merges: Sequence[bpe.Merge], digits: int) -> str:
    """tokenizer.json with ids in this order: special tokens, user tokens, the 256 bytes, the merges' pieces."""
    pieces = [*special, *user_tokens, *[SIGN_OF_BYTE[byte] for byte in range(256)], *[a + b for a, b in merges]]
    made = Inner(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=list(merges)))
    made.pre_tokenizer = pre_tokenizer(digits)
    made.decoder = decoders.ByteLevel()
    huggingface.add_user_tokens(made, user_tokens)
    return made.to_str(pretty=True)


class ByteLevelTokenizer(Tokenizer):
    """BPE over bytes, within the parts that a pattern splits a text into."""

    kind = "bytelevel"

    def __init__(self, model: bytes, settings: bytes, vocab_size: int | None = None, where: object = "tokenizer"):
        """`model`, `settings`: bytes of tokenizer.json and tokenizer_config.json. `vocab_size` None: pieces, padded.

        Raises:
          DataError: damaged, no byte-level BPE, without BOS or EOS, or with more pieces than `vocab_size`.
        """
        self._inner = huggingface.parse(model, where)
        # Names of special tokens in a text are text.
        self._inner.encode_special_tokens = True
        self._settings = settings
        data = parse_json(model, where, "a tokenizer")
        added = {token["content"]: token for token in data.get("added_tokens") or []}
        ids = self._inner.get_vocab(with_added_tokens=True)
        if (last := max(ids.values(), default=-1)) >= MOST_ROWS:
            raise DataError(f"{where}: a token of id {last}; a vocabulary has {MOST_ROWS:,} rows at most")
        named = huggingface.special_of(_settings(settings, where), where)
        special = {name: ids[name] for name in named if name in ids}
        special |= {name: token["id"] for name, token in added.items() if token["special"]}
        user_tokens = [name for name, token in added.items() if not token["special"]]
        bytes_of = [b""] * (last + 1)
        for piece, i in ids.items():
            if piece not in special:
                raw = piece.encode() if piece in added else unsigned(piece)
                if raw is None:
                    raise DataError(f"{where}: no byte-level BPE (its token {piece!r} is not of that alphabet)")
                bytes_of[i] = raw
        if missing := [byte for byte in range(256) if SIGN_OF_BYTE[byte] not in ids]:
            raise DataError(f"{where}: no byte-level BPE (it has no token for byte 0x{missing[0]:02X})")
        super().__init__(
            bytes_of,
            vocab_size,
            special=special,
            user_tokens=user_tokens,
            around=(*[special.get(name, -1) for name in named[:3]],),  # pyright: ignore[reportArgumentType]
            byte_ids=[ids[SIGN_OF_BYTE[byte]] for byte in range(256)],
            model=model + settings,
            where=where,
        )
        self._model = model

    def __reduce__(self) -> tuple[type, tuple[bytes, bytes, int]]:
        return type(self), (self._model, self._settings, self.vocab_size)

    def encode_batch(self, texts: Sequence[str], num_threads: int = 1) -> list[list[int]]:
        texts = list(texts)
        try:
            if num_threads == 1:  # callers with threads of their own
                return [self._inner.encode(text, add_special_tokens=False).ids for text in texts]
            return [found.ids for found in self._inner.encode_batch_fast(texts, add_special_tokens=False)]
        except (TypeError, UnicodeError) as error:
            raise surrogate_error(texts) or error from error

    def files(self) -> dict[str, bytes | str]:
        return {huggingface.TOKENIZER_FILE: self._model, huggingface.SETTINGS_FILE: self._settings}

    def merges(self) -> list[bpe.Merge]:
        """The pairs of pieces, in the order of their ranks."""
        found = json.loads(self._model)["model"]["merges"]
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in found)  # of before tokenizers 0.20
        return [(left, right) for left, right in pairs]

    def parts(self, text: str) -> list[str]:
        """What the pattern splits a text into, in the alphabet of the vocabulary."""
        splitter: Any = self._inner.pre_tokenizer
        return [part for part, _ in splitter.pre_tokenize_str(text)]


def _settings(settings: bytes, where: object) -> dict[str, Any]:
    values = parse_json(settings, where, "tokenizer_config.json beside it")
    if not isinstance(values, dict):
        raise DataError(f"{where}: tokenizer_config.json beside it should be a JSON object")
    return values
