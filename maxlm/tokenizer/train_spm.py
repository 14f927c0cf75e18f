"""Trains a SentencePiece BPE model.

What SentencePiece does by default and must not do here (each is held by a test): rewrite characters (NFKC), squeeze
white space, put a space before each text, skip long lines without a word, drop characters that are rare, skip every
sentence that holds U+2585, and never learn line ends because it reads files line by line.
"""

import io
import re
from collections.abc import Callable, Iterator

import sentencepiece

from maxlm.errors import DataError
from maxlm.tokenizer.settings import AROUND, UNKNOWN, TokenizerSettings, gb2312_level_1
from maxlm.tokenizer.spm import SentencePieceTokenizer
from maxlm.tokenizer.spm_proto import NORMAL, SPACE_MARK, Model

_PIECE_CHARS = 8192  # longest text handed to the trainer at once
_THREADS = 8  # fixed, since the number is written into the model file: the digest may not depend on the machine
# U+2581 is SentencePiece's sign for a space, and a sentence with U+2585, its sign for "unknown", is skipped whole.
_RESERVED = re.compile("[\u2581\u2585]")


def train_model(
    texts: Iterator[str], settings: TokenizerSettings, unwanted: Callable[[str], bool]
) -> SentencePieceTokenizer:
    """A tokenizer of as many pieces as are asked for, or fewer where the text holds no more.

    Raises:
      DataError: no text, or its characters alone are more than the pieces.
    """
    pieces = settings.vocab_size - settings.spare
    sentences = [part for text in texts for part in bounded(text, settings.digits)]
    extra = 64 + pieces // 32
    while True:
        model = Model(_train(sentences, settings, pieces + extra))
        dropped = {piece for piece in model.of_type(NORMAL) if len(piece) > 1 and _refused(piece, settings, unwanted)}
        found = SentencePieceTokenizer(model.without(dropped, pieces), settings.vocab_size, where="the trained model")
        if found.num_pieces >= pieces or len(model.pieces) < pieces + extra:
            return found
        extra *= 4


def _refused(piece: str, settings: TokenizerSettings, unwanted: Callable[[str], bool]) -> bool:
    return sum(c.isdecimal() for c in piece) > settings.digits or unwanted(piece.replace(SPACE_MARK, " "))


def _train(sentences: list[str], settings: TokenizerSettings, pieces: int) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=pieces,
            hard_vocab_limit=False,  # too few pieces are reported by train.py, in our words
            character_coverage=settings.coverage,
            required_chars=gb2312_level_1() if settings.characters == "gb2312" else "",
            byte_fallback=True,
            split_digits=settings.digits == 1,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=8 * _PIECE_CHARS,  # bytes; nothing that `bounded` gives is longer
            max_sentencepiece_length=16,
            train_extremely_large_corpus=True,
            control_symbols=list(settings.special_tokens),
            user_defined_symbols=[token.replace(" ", SPACE_MARK) for token in settings.user_tokens],
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=3,
            unk_piece=UNKNOWN,
            bos_piece=AROUND[0],
            eos_piece=AROUND[1],
            pad_piece=AROUND[2],
            num_threads=_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:  # SentencePiece knows no other kind
        raise _in_our_words(error, settings.vocab_size) from error
    return model.getvalue()


def bounded(text: str, digits: int = 1) -> Iterator[str]:
    """`text` cut into parts of bounded size, at line ends where there are any, without the signs that are reserved.

    A line end opens a part and never closes one: SentencePiece's Python wrapper strips them at the end of a sentence.
    With `digits` above 1, numbers are cut into groups of so many from the left, since longer ones make no token.
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
            yield from _grouped(run[start:cut], digits)
            start = cut
        if start < len(run):
            yield from _grouped(run[start:], digits)


def _grouped(part: str, digits: int) -> Iterator[str]:
    if digits == 1:
        yield part
        return
    start = 0
    for number in re.finditer(rf"\d{{{digits + 1},}}", part):
        for cut in range(number.start() + digits, number.end(), digits):
            yield part[start:cut]
            start = cut
    yield part[start:]


def _in_our_words(error: RuntimeError, vocab_size: int) -> DataError | RuntimeError:
    """SentencePiece's own checks, said so that they can be acted on; any other error as it is."""
    text = str(error)
    if "sentences_.empty()" in text:
        return DataError("no text to train a tokenizer on")
    if numbers := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", text):
        return DataError(
            f"config.tokenizer.vocab_size {vocab_size} is too small: the text's characters alone take "
            f"{numbers[2]} of {numbers[1]} pieces; use a larger one"
        )
    return error
