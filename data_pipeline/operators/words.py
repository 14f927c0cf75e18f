"""Words of a text, for rules that count them: scripts written without spaces count by the character."""

import re
from functools import cache, lru_cache

from data_pipeline.ingest.language import HAN, KANA

# Thai, Lao, Burmese and Khmer put no spaces between words either.
UNSPACED = HAN + KANA + r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


@lru_cache(maxsize=1)  # the operators of a recipe ask for the same text one after the other
def split_words(text: str) -> tuple[str, ...]:
    """What white space separates, and each character of a script without spaces by itself."""
    return tuple(text.split() if text.isascii() else _WORD.findall(text))


def has_words(text: str, least: int) -> bool:
    """Whether a text has at least so many words; reads no further than it must."""
    return least <= len(text.split(None, least)) or _first_words(least).match(text) is not None


@cache
def _first_words(count: int) -> re.Pattern[str]:
    return re.compile(rf"(?:\s*+(?:[{UNSPACED}]|[^\s{UNSPACED}]++)){{{count}}}")
