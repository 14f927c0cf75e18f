"""How much text a token stands for, by domain and language, for any tokenizer that a file describes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from maxlm.errors import DataError
from maxlm.paths import PathLike, as_path
from maxlm.tokenizer.base import Tokenizer
from maxlm.tokenizer.load import load_tokenizer

# Han with its extensions; what the field counts when it says characters a token for Chinese.
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")


@dataclass(frozen=True)
class Encoder:
    """A tokenizer as far as its compression goes."""

    name: str
    pieces: int
    encode_batch: Callable[[Sequence[str]], list[list[int]]]


def of_tokenizer(tokenizer: Tokenizer, name: str) -> Encoder:
    return Encoder(name, tokenizer.num_pieces, tokenizer.encode_batch)


def open_encoder(path: PathLike) -> Encoder:
    """A tokenizer to compare with: a folder of ours or of Hugging Face, a SentencePiece model, a tokenizer.json.

    Raises:
      DataError: none of these, or damaged.
    """
    path = as_path(path)
    file = path / "tokenizer.json" if path.is_dir() and not (path / "tokenizer.model").exists() else path
    if file.suffix != ".json" or not file.exists():
        return of_tokenizer(load_tokenizer(path), str(path))
    import tokenizers

    try:
        inner = tokenizers.Tokenizer.from_buffer(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file}: damaged, or no tokenizer.json ({error})") from error
    inner.no_truncation()
    inner.no_padding()
    inner.encode_special_tokens = True

    def encode_batch(texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in inner.encode_batch_fast(list(texts), add_special_tokens=False)]

    return Encoder(str(path), inner.get_vocab_size(with_added_tokens=True), encode_batch)


def compression(encoder: Encoder, texts: Sequence[str]) -> dict[str, float]:
    """Bytes, characters and Chinese characters that a token stands for, BOS and EOS left out.

    Chinese characters are counted over the runs of them alone, so that other text among them doesn't matter.
    """
    size, chars = sum(len(text.encode()) for text in texts), sum(map(len, texts))
    tokens = sum(map(len, encoder.encode_batch(texts)))
    runs = [run for text in texts for run in _HAN.findall(text)]
    han, of_han = sum(map(len, runs)), sum(map(len, encoder.encode_batch(runs)))
    told = {
        "bytes": size,
        "chars": chars,
        "tokens": tokens,
        "bytes_per_token": round(size / max(1, tokens), 4),
        "chars_per_token": round(chars / max(1, tokens), 4),
    }
    return told | ({"han": han, "han_per_token": round(han / of_han, 4)} if han else {})


def by_group(encoder: Encoder, texts: Sequence[str], groups: Sequence[str]) -> dict[str, dict[str, float]]:
    """`compression` of the texts of each group, the groups in order."""
    which = np.asarray(groups, object)
    chosen = {name: np.flatnonzero(which == name) for name in sorted(set(groups))}
    return {name: compression(encoder, [texts[int(i)] for i in members]) for name, members in chosen.items()}
