"""The Hugging Face form of a tokenizer: tokenizer.json for `tokenizers`, tokenizer_config.json for `transformers`.

Special tokens are in the vocabulary but are no "added tokens" of tokenizer.json: read by itself it turns every string
into the same ids as ours, the string "<s>" too. tokenizer_config.json names them, so that `transformers` knows them and
chat templates work; its `split_special_tokens=True` is for text that others typed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models

from maxlm.errors import DataError
from maxlm.tokenizer.base import MODEL_FILES
from maxlm.tokenizer.spm_proto import CONTROL, NORMAL, SPACE_MARK, UNKNOWN, USER_DEFINED, Model

TOKENIZER_FILE, SETTINGS_FILE = MODEL_FILES[1:]


def parse(raw: bytes, where: object) -> Tokenizer:
    """The tokenizer that the bytes of a tokenizer.json are.

    Raises:
      DataError: they are none.
    """
    if not raw:
        raise DataError(f"{where}: the file is empty; a {TOKENIZER_FILE} was expected")
    try:
        return Tokenizer.from_buffer(raw)
    except BaseException as error:
        # A bug of the package, met in a damaged file, comes out as a PanicException, which is no Exception.
        if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
            raise
        raise DataError(f"{where}: damaged, or of another version of tokenizers ({error})") from error


def of_sentencepiece(model: Model, where: object = "tokenizer") -> dict[str, str]:
    """The two files, by name, of a model that `is_plain`. Raises DataError: a piece is made of what is none.

    Pieces are written with spaces, not U+2581, so that nothing needs to be replaced and a U+2581 of the text stays one.
    Each piece has its one merge (bpe.py), in the order of SentencePiece's scores; other characters fall to bytes.
    """
    spaced = [
        piece.replace(SPACE_MARK, " ") if kind in (NORMAL, USER_DEFINED) else piece for piece, kind in model.pieces
    ]
    vocab = {piece: i for i, piece in enumerate(spaced)}
    merges = [(left.replace(SPACE_MARK, " "), right.replace(SPACE_MARK, " ")) for left, right in model.merges()]
    unknown = model.of_type(UNKNOWN)[0]
    try:
        bpe = models.BPE(vocab=vocab, merges=merges, unk_token=unknown, byte_fallback=True, fuse_unk=False)
    except Exception as error:  # tokenizers knows no other kind
        raise DataError(f"{where}: damaged, or pieces of it can't come about ({error})") from error
    made = Tokenizer(bpe)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    add_user_tokens(made, [piece.replace(SPACE_MARK, " ") for piece in model.of_type(USER_DEFINED)])
    return {TOKENIZER_FILE: made.to_str(pretty=True), SETTINGS_FILE: settings(model.of_type(CONTROL), unknown)}


def add_user_tokens(tokenizer: Tokenizer, tokens: Sequence[str]) -> None:
    """Strings of the vocabulary that are one token wherever they stand."""
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])


def settings(special: Sequence[str], unknown: str | None = None) -> str:
    """tokenizer_config.json. `special`: the names of BOS, EOS and padding, then all others."""
    bos, eos, pad, *others = special
    values: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "additional_special_tokens": others,
        "clean_up_tokenization_spaces": False,
        **({"unk_token": unknown} if unknown else {}),
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def special_of(values: Mapping[str, Any], where: object) -> list[str]:
    """The special tokens that a tokenizer_config.json names: BOS, EOS, padding ("" for one that lacks), then others.

    Raises:
      DataError: the others are no list.
    """
    names = [_name(values.get(f"{key}_token")) for key in ("bos", "eos", "pad")]
    others = values.get("additional_special_tokens") or values.get("extra_special_tokens") or []
    if not isinstance(others, list | dict):
        raise DataError(f"{where}: its {SETTINGS_FILE} has special tokens that are no list: {others!r}")
    return [*names, *[_name(other) for other in others if _name(other) not in names]]


def _name(token: Any) -> str:
    """A token as written: its string, or an object with its content."""
    return str(token["content"]) if isinstance(token, dict) and "content" in token else str(token or "")
