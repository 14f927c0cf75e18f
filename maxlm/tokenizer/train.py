"""Trains a SentencePiece BPE model that loses nothing: decode(encode(text)) == text for any Unicode text.

What SentencePiece does by default and must not do here (each is held by a test): rewrite characters (NFKC), squeeze
white space, put a space before each text, skip long lines without a word, drop characters that are rare, skip every
sentence that holds U+2585, and never learn line ends because it reads files line by line.
"""

import io
import re
from collections.abc import Iterator, Sequence

import sentencepiece

from maxlm.errors import ConfigError, DataError
from maxlm.paths import PathLike
from maxlm.tokenizer.spm import ROW_MULTIPLE, Tokenizer

CONTROL_PIECES = ("<unk>", "<s>", "</s>", "<pad>")  # ids 0 to 3, SentencePiece's names
_PIECE_CHARS = 8192  # longest text handed to the trainer at once
_THREADS = 8  # fixed, since the number is written into the model file: the digest may not depend on the machine
# U+2581 is SentencePiece's sign for a space, and a sentence with U+2585, its sign for "unknown", is skipped whole.
_LEAST_ROWS = 384  # control and byte pieces, and a little beside them
_RESERVED = re.compile("[\u2581\u2585]")
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


def train(
    texts: Iterator[str],
    out: PathLike,
    *,
    vocab_size: int,
    spare_tokens: int = 0,
    user_tokens: Sequence[str] = (),
    character_coverage: float | None = None,
) -> Tokenizer:
    """Trains a tokenizer and writes it to folder `out`. The same texts in the same order give the same bytes.

    Args:
      texts: documents; they are held in memory.
      out: folder for tokenizer.model and tokenizer_info.json.
      vocab_size: rows of the embedding, a multiple of 128; vocab_size - spare_tokens of them get a piece.
      spare_tokens: rows without a piece at the end, for tokens that later stages add.
      user_tokens: strings that are one token wherever they stand in a text.
      character_coverage: share of the characters that get a piece of their own; the rest is spelt in bytes.
        None: 0.99995, or 0.9995 below 32,768 rows, where rare Chinese characters would leave no room for words.

    Raises:
      ConfigError: sizes or user tokens that can't be.
      DataError: no text, or too little for so many pieces; the message says how many it is good for.
    """
    tokenizer = train_model(
        texts,
        vocab_size=vocab_size,
        spare_tokens=spare_tokens,
        user_tokens=user_tokens,
        character_coverage=character_coverage,
    )
    tokenizer.save(out, spare_tokens=spare_tokens, user_tokens=list(user_tokens))
    return tokenizer


def train_model(
    texts: Iterator[str],
    *,
    vocab_size: int,
    spare_tokens: int = 0,
    user_tokens: Sequence[str] = (),
    character_coverage: float | None = None,
) -> Tokenizer:
    """`train` without writing anything."""
    _check(vocab_size, spare_tokens, user_tokens)
    pieces = vocab_size - spare_tokens
    if character_coverage is None:
        character_coverage = 0.99995 if vocab_size >= 32_768 else 0.9995
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(part for text in texts for part in bounded(text)),
            model_writer=model,
            model_type="bpe",
            vocab_size=pieces,
            hard_vocab_limit=False,  # too few pieces are reported below, in our words
            character_coverage=character_coverage,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=8 * _PIECE_CHARS,  # bytes; nothing that `bounded` gives is longer
            max_sentencepiece_length=16,
            train_extremely_large_corpus=True,
            user_defined_symbols=list(user_tokens),
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:  # SentencePiece knows no other kind
        raise _in_our_words(error, vocab_size) from error
    tokenizer = Tokenizer(model.getvalue(), vocab_size, where="the trained model")
    if tokenizer.num_pieces < pieces:
        largest = (tokenizer.num_pieces + spare_tokens) // ROW_MULTIPLE * ROW_MULTIPLE
        way_out = f"set config.tokenizer.vocab_size to at most {largest}, or take more text"
        raise DataError(
            f"the text holds no more than {tokenizer.num_pieces} different pieces, and config.tokenizer.vocab_size="
            f"{vocab_size} with {spare_tokens} spare asks for {pieces}: "
            + (way_out if largest >= _LEAST_ROWS + spare_tokens else "take more text")
        )
    return tokenizer


def bounded(text: str) -> Iterator[str]:
    """`text` cut into parts of bounded size, at line ends where there are any, without the signs that are reserved.

    A line end opens a part and never closes one: SentencePiece's Python wrapper strips them at the end of a sentence.
    """
    for run in _RESERVED.split(text):
        start = 0
        while len(run) - start > _PIECE_CHARS:
            cut = run.rfind("\n", start + 1, start + _PIECE_CHARS)
            while cut > start and run[cut - 1] in "\r\n":
                cut -= 1
            if cut <= start:
                cut = run.rfind(" ", start + 1, start + _PIECE_CHARS)
            if cut <= start:
                cut = start + _PIECE_CHARS
            yield run[start:cut]
            start = cut
        if start < len(run):
            yield run[start:]


def _check(vocab_size: int, spare_tokens: int, user_tokens: Sequence[str]) -> None:
    if vocab_size % ROW_MULTIPLE or vocab_size <= 0:
        raise ConfigError(f"tokenizer.vocab_size: {vocab_size} is no multiple of {ROW_MULTIPLE}")
    needed = 256 + len(CONTROL_PIECES) + len(user_tokens)
    if not 0 <= spare_tokens <= vocab_size - needed:
        raise ConfigError(
            f"tokenizer.spare_tokens: {spare_tokens} of {vocab_size}; bytes, control and user tokens need {needed}"
        )
    for token in user_tokens:
        if not token or any(c.isspace() for c in token) or _RESERVED.search(token):
            raise ConfigError(f"tokenizer.user_tokens: {token!r} is empty or holds white space, U+2581 or U+2585")
        if token in CONTROL_PIECES or _BYTE_PIECE.fullmatch(token):
            raise ConfigError(f"tokenizer.user_tokens: {token!r} is the name of a built-in token")
    if len(set(user_tokens)) < len(user_tokens):
        raise ConfigError(f"tokenizer.user_tokens: a token stands there twice: {sorted(user_tokens)}")


def _in_our_words(error: RuntimeError, vocab_size: int) -> DataError | RuntimeError:
    """SentencePiece's own checks, said so that they can be acted on; any other error as it is."""
    text = str(error)
    if "sentences_.empty()" in text:
        return DataError("no text to train a tokenizer on")
    if numbers := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", text):
        return DataError(
            f"tokenizer.vocab_size {vocab_size} is too small: the text's characters alone take "
            f"{numbers[2]} of {numbers[1]} pieces; use a larger one"
        )
    return error
