"""Words of a text, for rules that count them: scripts written without spaces count by the character."""

import re
from functools import lru_cache

from data_pipeline.ingest.language import HAN, KANA

# Thai, Lao, Burmese and Khmer put no spaces between words either.
UNSPACED = HAN + KANA + r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


@lru_cache(maxsize=1)  # the operators of a recipe ask for the same text one after the other
def split_words(text: str) -> tuple[str, ...]:
    """What white space separates, and each character of a script without spaces by itself."""
    return tuple(text.split() if text.isascii() else _WORD.findall(text))
