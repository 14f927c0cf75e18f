"""Which language a text is in, by its script. A real identifier can take this function's place; its answers stay."""

import re

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = r"\u3040-\u30ff"
LATIN = r"A-Za-z\u00c0-\u024f"

_HAN_RUN = re.compile(f"[{HAN}]+")
_KANA_RUN = re.compile(f"[{KANA}]+")
_LATIN_RUN = re.compile(f"[{LATIN}]+")
_LETTER_RUN = re.compile(r"[^\W\d_]+")

# One Han character carries about as much as a whole Latin word, so Chinese prose full of English terms still has
# far more Latin letters than this leaves room for.
_MIN_HAN_OF_LETTERS = 0.2
_MAX_KANA_OF_EAST_ASIAN = 0.05  # Japanese writes about half of its characters in kana, Chinese none
_MIN_LATIN_OF_LETTERS = 0.8


def identify(text: str) -> str:
    """``"zh"`` where a fifth of the letters are Han characters, ``"en"`` where nearly all are Latin, else ``"other"``.

    French or German pass for "en" here: script alone cannot tell them apart.
    """
    letters = _count(_LETTER_RUN, text)
    if not letters:
        return "other"
    han, kana = _count(_HAN_RUN, text), _count(_KANA_RUN, text)
    if han / letters >= _MIN_HAN_OF_LETTERS:
        return "zh" if kana / (han + kana) <= _MAX_KANA_OF_EAST_ASIAN else "other"
    return "en" if _count(_LATIN_RUN, text) / letters >= _MIN_LATIN_OF_LETTERS else "other"


def _count(run: re.Pattern[str], text: str) -> int:
    return sum(map(len, run.findall(text)))
