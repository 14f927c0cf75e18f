"""Bytes into characters: what a file is written in, as it says or as it shows, and no guess that isn't sure.

UTF-8 is tried first and never guessed away. Where it fails, charset-normalizer lists what else the bytes could be, and
one of its answers is taken only if nearly all characters that it gives beyond ASCII are those that the encoding's
languages use: the first level of GB 2312 or of Big5 (the characters in common use), kana, Hangul, or the letters and
marks of Western Europe. Six bytes of Chinese could be anything, and are left to a person.
"""

import codecs
import re
from functools import cache

# UTF-32 before UTF-16: its little-endian mark begins with the other's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAX_MARK = 4
SNIFF_BYTES = 1 << 20  # of a file are looked at to tell its encoding

_PARTS, _MIN_SURE_PARTS = 16, 0.75
_CANDIDATES = ("gb18030", "big5", "cp1252", "shift_jis", "euc_kr", "euc_jp")
_MIN_EXPECTED = 0.85  # of the characters beyond ASCII
_MIN_CHARACTERS = {"gb18030": 8, "big5": 8, "cp1252": 1}  # beyond ASCII: fewer fit too easily
_MIN_OF_SCRIPT, _MIN_CHARACTERS_OF_SCRIPT = 0.2, 30  # kana or Hangul, which neither Chinese nor noise has
# Any byte is a character of cp1252: its text must be like a language (charset-normalizer's measure), with letters
# beyond ASCII that stand alone among others; the bytes of other scripts come in runs.
_MIN_COHERENCE, _MIN_ALONE = 0.3, 0.5
_CJK_MARKS = "　、。〈〉《》「」『』【】〔〕〖〗〝〞·‧・ー…—–‘’“”′″～﹏×÷°±℃％‰№→←↑↓■□●○◎◆◇★☆▲△▼▽※§"
_EXPECTED = {
    "cp1252": "[À-ÖØ-öø-ÿŒœŠšŽžŸƒ‘’“”‚„‹›«»–—…•·°ºª¹²³½¼¾£€¥¢§©®™±×÷¿¡´`¨˜ˆ†‡‰¶µ\xa0]",
    "shift_jis": f"[぀-ヿ一-龥！-～{_CJK_MARKS}]",
    "euc_jp": f"[぀-ヿ一-龥！-～{_CJK_MARKS}]",
    "euc_kr": f"[가-힣！-～{_CJK_MARKS}]",
}
_SCRIPT = {"shift_jis": "[぀-ヺ]", "euc_jp": "[぀-ヺ]", "euc_kr": "[가-힣]"}
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_VALID_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def by_mark(head: bytes) -> str:
    """The encoding that a byte-order mark names, as Python's codec that takes the mark away; "": no mark."""
    return next((name for mark, name in _MARKS if head[:_MAX_MARK].startswith(mark)), "")


def known(name: str) -> bool:
    """Whether Python has a codec of this name that makes text of bytes."""
    try:
        return isinstance("".encode(name), bytes)
    except (LookupError, TypeError, ValueError):
        return False


def tell(head: bytes, whole: bool) -> str:
    """The encoding of a file by its first bytes: its mark, UTF-8, or a sure guess; "": none of these.

    Args:
      whole: `head` is all of the file, so that its last character is no half one.
    """
    if marked := by_mark(head):
        return marked
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError:
        return guess(head) or _guess_by_parts(head)
    return "utf-8"


def _guess_by_parts(raw: bytes) -> str:
    """The encoding that nearly all parts of a file show, where a damage keeps the whole from showing it."""
    lines = raw.splitlines(keepends=True)
    size = -(-len(lines) // _PARTS)
    guesses = [guess(b"".join(lines[i : i + size])) for i in range(0, len(lines), size)]
    sure = [name for name in guesses if name]
    return sure[0] if len({*sure}) == 1 and len(sure) >= _MIN_SURE_PARTS * len(guesses) else ""


def guess(raw: bytes) -> str:
    """The encoding of bytes that are no UTF-8, where it is beyond doubt; else "".

    Bytes that are mostly UTF-8 get no other name: a damaged character is no reason to misread all the others.
    """
    if len(raw) > SNIFF_BYTES or not raw.endswith(b"\n"):
        raw = raw[: raw[:SNIFF_BYTES].rfind(b"\n") + 1] or raw[:SNIFF_BYTES]  # a cut may halve the last character
    beyond = len(raw) - len(raw.translate(None, delete=bytes(range(0x80, 0x100))))
    if 2 * sum(map(len, _VALID_UTF8.findall(raw))) > beyond or b"\0" in raw:
        return ""
    from charset_normalizer import from_bytes  # a tenth of a second to import, which UTF-8 need not pay

    for candidate in from_bytes(raw, cp_isolation=list(_CANDIDATES)):
        name = candidate.encoding
        if name == "cp1252" and candidate.coherence < _MIN_COHERENCE:
            continue
        if _is_expected(raw.decode(name, errors="ignore"), name):
            return name
    return ""


def _is_expected(text: str, name: str) -> bool:
    runs = _BEYOND_ASCII.findall(text)
    characters = "".join(runs)
    if len(characters) < _MIN_CHARACTERS.get(name, _MIN_CHARACTERS_OF_SCRIPT):
        return False
    if name == "cp1252" and sum(len(run) == 1 for run in runs) < _MIN_ALONE * len(characters):
        return False
    if name in _SCRIPT and len(re.findall(_SCRIPT[name], characters)) < _MIN_OF_SCRIPT * len(characters):
        return False
    if name in _EXPECTED:
        found = len(re.findall(_EXPECTED[name], characters))
    else:
        found = sum(map(_frequent(name).__contains__, characters))
    return found >= _MIN_EXPECTED * len(characters)


@cache
def _frequent(name: str) -> frozenset[str]:
    """The characters of a Chinese encoding's first level, with the marks and full-width forms of its texts."""
    if name == "big5":
        codes = [(a, b) for a in range(0xA4, 0xC7) for b in (*range(0x40, 0x7F), *range(0xA1, 0xFF))]
    else:
        codes = [(a, b) for a in range(0xB0, 0xD8) for b in range(0xA1, 0xFF)]
    first_level = b"".join(map(bytes, codes)).decode(name, errors="ignore")
    return frozenset(first_level + _CJK_MARKS + "".join(map(chr, range(0xFF01, 0xFF5F))))
