"""Trains a tokenizer that loses nothing: decode(encode(text)) == text for any Unicode text.

More pieces are learnt than are wanted. Those that `unwanted` names go, with what was built on them, and those that no
text would become; what follows in rank moves up. So nothing has to be trained twice, and no ids stay empty.
"""

from collections.abc import Callable, Iterator

from maxlm.errors import DataError
from maxlm.paths import PathLike
from maxlm.tokenizer import train_bytelevel, train_spm
from maxlm.tokenizer.base import ROW_MULTIPLE, Tokenizer
from maxlm.tokenizer.settings import AROUND, TokenizerSettings

Unwanted = Callable[[str], bool]


def train(
    texts: Iterator[str], out: PathLike, settings: TokenizerSettings, unwanted: Unwanted | None = None
) -> Tokenizer:
    """Trains a tokenizer and writes it to folder `out`. The same texts in the same order give the same bytes.

    Args:
      texts: documents. SentencePiece holds them in memory, byte-level training their different words.
      out: folder for the model and tokenizer_info.json.
      settings: what is to be trained.
      unwanted: tells strings that must not become a token.

    Raises:
      DataError: no text, or too little for so many pieces; the message says how many it is good for.
    """
    tokenizer = train_model(texts, settings, unwanted)
    tokenizer.save(out, spare_tokens=settings.spare)
    return tokenizer


def train_model(texts: Iterator[str], settings: TokenizerSettings, unwanted: Unwanted | None = None) -> Tokenizer:
    """`train` without writing anything."""
    trainer = train_spm if settings.kind == "sentencepiece" else train_bytelevel
    tokenizer = trainer.train_model(texts, settings, unwanted or (lambda piece: False))
    pieces = settings.vocab_size - settings.spare
    if tokenizer.num_pieces < pieces:
        largest = (tokenizer.num_pieces + settings.spare) // ROW_MULTIPLE * ROW_MULTIPLE
        least = 2 * ROW_MULTIPLE + len(AROUND) + len(settings.special_tokens) + len(settings.user_tokens)
        way_out = f"set config.tokenizer.vocab_size to at most {largest}, or take more text"
        raise DataError(
            f"the text holds no more than {tokenizer.num_pieces} different pieces, and config.tokenizer.vocab_size="
            f"{settings.vocab_size} with {settings.spare} spare asks for {pieces}: "
            + (way_out if largest > least + settings.spare else "take more text")
        )
    return tokenizer
