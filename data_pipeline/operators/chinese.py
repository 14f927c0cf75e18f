"""Simplified and traditional Chinese."""

import operator
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from data_pipeline.ingest.language import HAN, KANA
from data_pipeline.operators.base import Draft, Edit

_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile(f"[{KANA}]")
_MAX_KANA = 0.02  # of Han characters: Japanese has its own forms, which are neither
# OpenCC's names. The last two also have the words of the place.
_CONFIGS = {"simplified": "t2s", "traditional": "s2t", "taiwan": "s2twp", "hongkong": "s2hk"}
_MOST_ROUNDS = 4


@dataclass(frozen=True)
class ChineseScript(Edit):
    """Converts Chinese to one script, by OpenCC's dictionaries (github.com/BYVoid/OpenCC), phrases before characters.

    Counts the characters that change. To simplified is nearly lossless; the other way guesses (后: 后 or 後). Looks at
    documents whose language is Chinese or unknown, and leaves Japanese alone.
    """

    to: Literal["simplified", "traditional", "taiwan", "hongkong"] = "simplified"

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        text = draft.text
        if draft.language not in ("zh", "other", "") or text.isascii() or not _HAN.search(text) or _is_japanese(text):
            return text, {}
        converted = self._convert(text)
        if converted == text:
            return text, {}
        changed = sum(map(operator.ne, text, converted))
        return converted, {"character": changed + abs(len(text) - len(converted))}

    def _convert(self, text: str) -> str:
        """As far as it goes: what a first pass makes can be a phrase of the dictionary itself."""
        convert = _converter(_CONFIGS[self.to]).convert
        for _ in range(_MOST_ROUNDS):
            converted = convert(text)
            if converted == text:
                break
            text = converted
        return text


def _is_japanese(text: str) -> bool:
    return bool(_KANA.search(text)) and len(_KANA.findall(text)) > _MAX_KANA * len(_HAN.findall(text))


@cache
def _converter(config: str) -> Any:
    import opencc  # reads dictionaries

    return opencc.OpenCC(config)
