"""The operators that recipes can name, and how a recipe's line becomes one."""

from collections.abc import Mapping
from typing import Any

from data_pipeline.operators.base import Operator
from data_pipeline.operators.boilerplate import Boilerplate, BoilerplatePage, References
from data_pipeline.operators.c4 import C4
from data_pipeline.operators.chinese import ChineseScript
from data_pipeline.operators.code import CodeCharacters, DataFile, EncodedData, GeneratedFile, MinifiedFile
from data_pipeline.operators.encoding import DamagedText, RepairEncoding
from data_pipeline.operators.fineweb import FineWeb
from data_pipeline.operators.gopher import AlphabeticWords, LineMarks, StopWords, SymbolRatio
from data_pipeline.operators.keywords import Keywords
from data_pipeline.operators.language import Language
from data_pipeline.operators.length import Length, LineLength, WordLength
from data_pipeline.operators.licence import LicenceHeader
from data_pipeline.operators.normalise import Normalise
from data_pipeline.operators.redact import Redact
from data_pipeline.operators.repetition import CharacterRepetition, Repetition
from data_pipeline.operators.shares import CharacterShares
from data_pipeline.operators.urls import UrlBlocklist, UrlShare
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
    "code_characters": CodeCharacters,
    "damaged_text": DamagedText,
    "data_file": DataFile,
    "encoded_data": EncodedData,
    "fineweb": FineWeb,
    "generated_file": GeneratedFile,
    "keywords": Keywords,
    "language": Language,
    "length": Length,
    "licence_header": LicenceHeader,
    "line_length": LineLength,
    "line_marks": LineMarks,
    "minified_file": MinifiedFile,
    "normalise": Normalise,
    "redact": Redact,
    "references": References,
    "repair_encoding": RepairEncoding,
    "repetition": Repetition,
    "stop_words": StopWords,
    "symbol_ratio": SymbolRatio,
    "url_blocklist": UrlBlocklist,
    "url_share": UrlShare,
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
