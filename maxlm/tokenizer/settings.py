"""What can be chosen when a tokenizer is trained."""

import re
from dataclasses import dataclass
from typing import Literal

from maxlm.errors import ConfigError
from maxlm.tokenizer.base import ROW_MULTIPLE

AROUND = ("<s>", "</s>", "<pad>")  # begin and end of a document, padding
UNKNOWN = "<unk>"  # SentencePiece insists on one; with bytes to fall back to, no text becomes it
LARGE = 32_768  # rows from which on there is room for spare slots and for rare characters
_SPARE = 1024
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_RESERVED = re.compile("[\u2581\u2585]")  # SentencePiece's signs for a space and for the unknown


@dataclass(frozen=True)
class TokenizerSettings:
    """Keys of config.tokenizer that decide what is trained."""

    # "sentencepiece": BPE over characters, bytes for rare ones. "bytelevel": BPE over bytes, as GPT-4's and Llama 3's
    kind: Literal["sentencepiece", "bytelevel"] = "sentencepiece"
    vocab_size: int = 8192  # rows of the embedding, spare slots included; multiple of 128
    # Unused slots at the end of the vocabulary, for tokens of later stages; None: 1,024 from 32,768 rows on, else 0
    spare_tokens: int | None = None
    digits: int = 1  # digits that a token may hold at most; numbers of more are several tokens
    # Tokens that no text becomes, reached by id: fill-in-the-middle, turns of a chat and who speaks
    special_tokens: tuple[str, ...] = (
        "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
        "<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>",
    )  # fmt: skip
    user_tokens: tuple[str, ...] = ()  # strings that are one token wherever they stand in a text
    # "gb2312": each of the 3,755 characters of GB2312's first level is a token; "auto": so where a hundredth of the
    # text or more is Chinese and the vocabulary has 32,768 rows or more
    characters: Literal["auto", "gb2312", "none"] = "auto"
    # SentencePiece: share of the characters that get a piece of their own; the rest is spelt in bytes. None: 0.99995,
    # or 0.9995 below 32,768 rows, where rare Chinese characters would leave no room for words
    character_coverage: float | None = None

    def __post_init__(self) -> None:
        if self.vocab_size % ROW_MULTIPLE or self.vocab_size <= 0:
            raise ConfigError(f"config.tokenizer.vocab_size: {self.vocab_size} is no multiple of {ROW_MULTIPLE}")
        needed = 256 + len(AROUND) + 1 + len(self.special_tokens) + len(self.user_tokens)
        if not 0 <= self.spare <= self.vocab_size - needed:
            raise ConfigError(
                f"config.tokenizer.spare_tokens: {self.spare} of {self.vocab_size}; "
                f"bytes, special and user tokens need {needed}"
            )
        if not 1 <= self.digits <= 3:
            raise ConfigError(f"config.tokenizer.digits: {self.digits} is not 1, 2 or 3")
        if self.character_coverage is not None and not 0.98 <= self.character_coverage <= 1:
            raise ConfigError(f"config.tokenizer.character_coverage: {self.character_coverage} is outside [0.98, 1]")
        _check_names("special_tokens", self.special_tokens)
        _check_names("user_tokens", self.user_tokens)
        if both := set(self.special_tokens) & set(self.user_tokens):
            raise ConfigError(
                f"config.tokenizer.user_tokens: {min(both)!r} is among special_tokens, which no text becomes; "
                "name it in one of the two"
            )

    @property
    def spare(self) -> int:
        """Spare slots, the default resolved."""
        if self.spare_tokens is not None:
            return self.spare_tokens
        return _SPARE if self.vocab_size >= LARGE else 0

    def wants_gb2312(self, chinese: bool) -> bool:
        """Whether the characters of GB2312's first level are asked for. `chinese`: whether the text is so in part."""
        return self.characters == "gb2312" or (self.characters == "auto" and chinese and self.vocab_size >= LARGE)

    @property
    def coverage(self) -> float:
        """Character coverage, the default resolved."""
        if self.character_coverage is not None:
            return self.character_coverage
        return 0.99995 if self.vocab_size >= LARGE else 0.9995


def gb2312_level_1() -> str:
    """The 3,755 characters of GB2312-80's first level, rows 16 to 55, in their order (by sound)."""
    cells = [bytes([0xA0 + row, 0xA0 + cell]) for row in range(16, 56) for cell in range(1, 95)]
    return b"".join(cells[:3755]).decode("gb2312")


def _check_names(key: str, tokens: tuple[str, ...]) -> None:
    for token in tokens:
        if not token or token != token.strip(" ") or re.search(r"[^\S ]|  ", token) or _RESERVED.search(token):
            raise ConfigError(
                f"config.tokenizer.{key}: {token!r} is empty, or holds U+2581, U+2585, or blanks other than single "
                "spaces between words"
            )
        if token in (*AROUND, UNKNOWN) or _BYTE_PIECE.fullmatch(token):
            raise ConfigError(f"config.tokenizer.{key}: {token!r} is the name of a built-in token")
    if len(set(tokens)) < len(tokens):
        twice = min(token for token in tokens if tokens.count(token) > 1)
        raise ConfigError(f"config.tokenizer.{key}: {twice!r} stands there twice")
