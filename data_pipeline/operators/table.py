"""The operators that recipes can name, and how a recipe's line becomes one."""

from collections.abc import Mapping
from typing import Any

from data_pipeline.operators.base import Operator
from data_pipeline.operators.boilerplate import Boilerplate, BoilerplatePage, References
from data_pipeline.operators.c4 import C4
from data_pipeline.operators.chinese import ChineseScript
from data_pipeline.operators.encoding import DamagedText, RepairEncoding
from data_pipeline.operators.fineweb import FineWeb
from data_pipeline.operators.gopher import AlphabeticWords, LineMarks, StopWords, SymbolRatio
from data_pipeline.operators.language import Language
from data_pipeline.operators.length import Length, LineLength, WordLength
from data_pipeline.operators.normalise import Normalise
from data_pipeline.operators.redact import Redact
from data_pipeline.operators.repetition import CharacterRepetition, Repetition
from data_pipeline.operators.shares import CharacterShares
from maxlm.config import freeze
from maxlm.errors import ConfigError, did_you_mean

OPERATORS: dict[str, type[Operator]] = {
    "alphabetic_words": AlphabeticWords,
    "boilerplate": Boilerplate,
    "boilerplate_page": BoilerplatePage,
    "c4": C4,
    "character_repetition": CharacterRepetition,
    "character_shares": CharacterShares,
    "chinese_script": ChineseScript,
    "damaged_text": DamagedText,
    "fineweb": FineWeb,
    "language": Language,
    "length": Length,
    "line_length": LineLength,
    "line_marks": LineMarks,
    "normalise": Normalise,
    "redact": Redact,
    "references": References,
    "repair_encoding": RepairEncoding,
    "repetition": Repetition,
    "stop_words": StopWords,
    "symbol_ratio": SymbolRatio,
    "word_length": WordLength,
}


def build(name: str, params: Mapping[str, Any], where: str) -> Operator:
    """The operator called `name` with `params`; `where` names the place in the config for errors.

    Raises:
      ConfigError: no such operator, no such parameter (with the nearest known one), or a value of the wrong type.
    """
    if name not in OPERATORS:
        raise ConfigError(f"{where}: no operator {name!r}{did_you_mean(name, OPERATORS)}")
    return freeze(OPERATORS[name], params, f"{where}.{name}")
