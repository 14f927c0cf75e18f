"""What a text is made of, counted once for all operators: characters by kind, and words as hashes.

A word is what `words.split_words` says: what white space separates, and in scripts without spaces each character by
itself. Nothing here makes a Python object of each: a page of 5 kB takes about 0.1 ms, Chinese or English.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from data_pipeline.ingest.language import HAN, LATIN
from data_pipeline.operators.words import UNSPACED

# Kinds of characters, as bits; a word bears those of all its characters, and SPACE where white space follows it.
SPACE, LETTER, DIGIT, HAN_LETTER, LATIN_LETTER, OWN_WORD, PLAIN, ALPHANUMERIC = (np.uint8(1 << bit) for bit in range(8))

# A word of nothing but these counts as no word. datatrove's list (utils/text.py, Apache 2.0), which its Gopher filter
# goes by; PLAIN is every other character.
TERMINAL_PUNCTUATION = frozenset(
    "᪩？⁈𑩂．꩞𑅃﹗𑂾\u1b7d፧𑅂꡶꘎⁉࠾᪨𑊩𑱂᱿𖩮᥅\U00011f43\U00011f44﹒𑈹𑈸።܂؞꛳\U00010f88𑗍𐩖𑙂\u061d꩟᠉\u1b7e𑗗᰼𑻸؟𑪜꧉𑗉𐽙𖫵𖬷܀꓿᜵𑗏𑁇𑗓𑥄៖𑥆𑗑𑗒꯫۔𐩗\U00010f86꡷\u2e54"
    "｡៕߹⸮.𑇅࠹𛲟꫰꤯𐽗᭞𑜼፨𑃁꣏𑇟𖬸𑪛𑜾࠷𝪈?𑃀𑗃！։꣎॥𑗖᭛᠃!၊𖺘⁇𑗌𑑋𖭄᭟𑅁𑙁⸼꩝𑗋。꧈꫱𑜽𐽖𑂿᙮።꛷\U00010f89៚᥄𑗕𑗎᪪᭚࠽𑇞𑗊𐽘\u2e53𑗔𖩯𑇍𑻷𐽕𑩃।𑗂𑇆𑁈။᱾𑱁꘏܁᜶‼𑈻‽᪫﹖𑑌𑈼"
    "\u17d4\U00010f87𑗐៙᰻"
)
_SYMBOLS = TERMINAL_PUNCTUATION.union(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»",
    map(chr, (*range(9), *range(11, 32), *range(127, 160))),
)

_TABLE_SIZE = 0x40001  # beyond it nothing is a letter; the last entry stands for all that follows
_CHUNK = 1 << 20  # characters that are worked on at a time, which bounds memory
_CUT = re.compile(rf"[\s{UNSPACED}](?=\S)")  # the end of a word and of the space behind it

_MIXER = np.uint64(0x9E3779B97F4A7C15)
_BASE = 0xD6E8FEB86659FD93  # odd: it has an inverse modulo 2**64


@dataclass(frozen=True)
class Census:
    """A text's figures."""

    num_characters: int
    kinds: np.ndarray  # characters of each combination of kinds: int64 [256]
    starts: np.ndarray  # where each word begins in the text: int64 [words]
    lengths: np.ndarray  # characters of each word: int64 [words]
    word_kinds: np.ndarray  # uint8 [words]
    hashes: np.ndarray  # equal for equal words, in every text and process: uint64 [words]

    @property
    def num_words(self) -> int:
        return len(self.starts)

    def num_of(self, kind: np.uint8) -> int:
        """How many characters are of `kind`."""
        return int(self.kinds[(_COMBINATIONS & kind) != 0].sum())

    def words_of(self, kind: np.uint8) -> np.ndarray:
        """Which words hold a character of `kind`: bool [words]."""
        return (self.word_kinds & kind) != 0

    def end(self, word: int) -> int:
        """Where word number `word` ends in the text."""
        return int(self.starts[word] + self.lengths[word])


_COMBINATIONS = np.arange(256, dtype=np.uint8)


def census(text: str) -> Census:
    """Counts `text`. Meant for ``draft.of(census)``."""
    if len(text) <= _CHUNK:
        return _count(text)
    parts, begins, begin = [], [], 0
    while begin < len(text):
        cut = _CUT.search(text, begin + _CHUNK)
        end = cut.end() if cut else len(text)
        parts.append(_count(text[begin:end]))
        begins.append(begin)
        begin = end
    return Census(
        num_characters=len(text),
        kinds=np.sum([part.kinds for part in parts], axis=0),
        starts=np.concatenate([part.starts + begin for part, begin in zip(parts, begins, strict=True)]),
        lengths=np.concatenate([part.lengths for part in parts]),
        word_kinds=np.concatenate([part.word_kinds for part in parts]),
        hashes=np.concatenate([part.hashes for part in parts]),
    )


def num_words(text: str) -> int:
    """The words of a text, for who needs to know no more."""
    return int(np.count_nonzero(_read(text)[2]))


@cache
def hash_word(word: str) -> np.uint64:
    """The hash that `word` has in every census."""
    return census(word).hashes[0]


def _count(text: str) -> Census:
    codes, kinds, begins = _read(text)
    starts = np.flatnonzero(begins)
    by_kind = np.bincount(kinds, minlength=256)
    if not starts.size:
        nothing = np.empty(0, np.int64)
        return Census(len(text), by_kind, nothing, nothing, np.empty(0, np.uint8), np.empty(0, np.uint64))
    # From one start to the next lie a word and the white space behind it, which counts as nothing.
    filled = (kinds & SPACE) == 0
    lengths = np.add.reduceat(filled, starts, dtype=np.int64)
    hashes = codes * _MIXER
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIXER
    hashes *= filled
    powers, inverses = _powers(1 << len(text).bit_length())
    hashes *= powers[: len(text)]
    words = np.add.reduceat(hashes, starts)
    words *= inverses[starts]  # a word's hash is a polynomial in _BASE, wherever it stands
    words ^= words >> np.uint64(32)
    words *= _MIXER
    return Census(len(text), by_kind, starts, lengths, np.bitwise_or.reduceat(kinds, starts), words)


def _read(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The code and the kinds of each character, and whether a word begins there."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kind_of_code().take(codes, mode="clip")
    spaces = (kinds & SPACE) != 0
    alone = (kinds & OWN_WORD) != 0
    # A word begins after white space or a character that is its own word, and at such a character.
    begins = ~spaces
    begins[1:] &= spaces[:-1] | alone[:-1] | alone[1:]
    return codes, kinds, begins


@lru_cache(maxsize=24)
def _powers(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` powers of _BASE modulo 2**64, and their inverses."""
    base = np.full(count, _BASE, np.uint64)
    inverse = np.full(count, pow(_BASE, -1, 1 << 64), np.uint64)
    base[0] = inverse[0] = 1
    return np.cumprod(base), np.cumprod(inverse)


@cache
def _kind_of_code() -> np.ndarray:
    """The kinds of each code point: uint8 [_TABLE_SIZE]; the last stands for all above."""
    characters = "".join(map(chr, range(_TABLE_SIZE)))
    table = np.zeros(_TABLE_SIZE, np.uint8)
    for kind, is_kind in (
        (SPACE, str.isspace),
        (LETTER, str.isalpha),
        (DIGIT, str.isdecimal),
        (ALPHANUMERIC, str.isalnum),
        (PLAIN, lambda character: character not in _SYMBOLS and not character.isspace()),
    ):
        table |= np.fromiter(map(is_kind, characters), bool, _TABLE_SIZE) * kind
    for kind, letters in ((HAN_LETTER, HAN), (LATIN_LETTER, LATIN), (OWN_WORD, UNSPACED)):
        for run in re.finditer(f"[{letters}]+", characters):
            table[run.start() : run.end()] |= kind
    table[-1] = PLAIN
    return table
