"""What readers give: rows of text, and pieces of input that can't become one, each with its reason."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from data_pipeline.config import SourceConfig
from data_pipeline.conversations import Conversation
from data_pipeline.ingest import chats
from maxlm.errors import DataError
from maxlm.paths import parse_json
from maxlm.tokenizer.marks import RESERVED

TEXT_KEYS = ("text", "content", "completion")  # looked for in this order where a source names none
LABELS = ("source", "domain", "language")  # columns that a row may bring along
MAX_COLUMNS = 10_000  # of one row or table: more is a matrix, or a delimiter that is none
# Objects in which corpora keep a row's metadata; their own columns count as the row's (Dolma, RedPajama, The Pile).
_NESTED = ("metadata", "meta")
_SAMPLE_CHARACTERS = 80


@dataclass(frozen=True)
class Row:
    """A text, and what its row says about it ("" where it says nothing)."""

    number: int  # in its file, from 0
    text: str
    source: str = ""
    domain: str = ""
    language: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)  # plain values that came with the text


@dataclass(frozen=True)
class Bad:
    """A piece of input that can't become a document, and why."""

    number: int
    reason: str
    sample: str


def row_of(value: Any, number: int, source: SourceConfig, shown: Callable[[], str]) -> Row | Bad:
    """The document that a row of named columns holds, as its source says where what stands.

    Args:
      shown: gives what a quarantined row shows of itself.
    """
    if not isinstance(value, dict):
        return Bad(number, "not_an_object", sample(shown()))
    if len(value) > MAX_COLUMNS:
        return Bad(number, "too_many_columns", f"{len(value):,} columns; at most {MAX_COLUMNS:,}")
    labels = {}
    for name in LABELS:
        found = _find(value, source.columns.get(name, name))
        if isinstance(found, str):
            labels[name] = found
    try:
        found = _conversation(value, source)
        more = _told(found.conversation) if found else {}
    except chats.RefusedError as error:
        return Bad(number, str(error), sample(shown()))
    except RecursionError:  # two answers are compared
        return Bad(number, "conversation_not_json", sample(shown()))
    if found:
        text, keys = found.conversation.text, [source.columns.get(key, key) for key in found.keys]
    else:
        keys = text_keys(source) or [key for key in TEXT_KEYS if value.get(key) is not None][:1]
        texts = [_find(value, key) for key in keys]
        if not texts or any(text is None for text in texts):
            return Bad(number, "no_text", sample(shown()))
        parts = [part for text in texts if (part := _joined(text)) is not None]
        if len(parts) < len(texts):
            return Bad(number, "text_is_no_string", sample(shown()))
        text = "\n\n".join(parts)
    if has_lone_surrogate(text) or any(map(has_lone_surrogate, labels.values())):
        return Bad(number, "invalid_unicode", sample(shown()))
    return Row(number, text, **labels, metadata=_metadata(value, source, keys) | more)


def _told(conversation: Conversation) -> dict[str, Any]:
    """As `_described`. Raises RefusedError: values that JSON can't hold, or too deep in each other, too."""
    try:
        return _described(conversation)
    except (TypeError, ValueError, RecursionError, DataError) as error:
        raise chats.RefusedError("conversation_not_json") from error


def _described(conversation: Conversation) -> dict[str, Any]:
    """What metadata say of a conversation, as JSON gives it back.

    Raises:
      RefusedError: a text in it that none can be.
      TypeError, ValueError, RecursionError, DataError: values that JSON can't hold.
    """
    if has_lone_surrogate(conversation.text):
        raise chats.RefusedError("invalid_unicode")
    told = json.dumps(conversation.described(), ensure_ascii=False, allow_nan=False, default=_plain_or_none)
    if has_lone_surrogate(told):
        raise chats.RefusedError("invalid_unicode")
    if not conversation.plain and (RESERVED.search(told) or RESERVED.search(conversation.text)):
        raise chats.RefusedError("reserved_character")  # no template could write it
    return parse_json(told.encode(), "", "a conversation")


def _plain_or_none(item: Any) -> Any:
    """For values that JSON has no form of."""
    if (plain := _plain(item)) is None:
        raise TypeError(type(item).__name__)
    return plain


def _conversation(value: dict[str, Any], source: SourceConfig) -> chats.Found | None:
    """The conversation that a row is; None: it, or its source, has none.

    Where a source names columns of one, they are what its rows hold; else a row that has them, and no other text, is
    one.
    """
    named = source.columns.keys() & set(chats.KEYS)
    others = [key for key in TEXT_KEYS if key not in chats.KEYS]
    if not named and (text_keys(source) or any(value.get(key) is not None for key in others)):
        return None
    taken = [column for key, column in source.columns.items() if key != column]  # under another name
    columns = {key: source.columns.get(key, key) for key in chats.KEYS if key in source.columns or key not in taken}
    found = chats.conversation_of({key: _find(value, column) for key, column in columns.items()})
    if found is None and named:
        raise chats.RefusedError("no_text")
    return found


def text_keys(source: SourceConfig) -> list[str]:
    """The columns that make a row's text; []: the first of TEXT_KEYS that a row holds."""
    named = source.columns.get("text", source.text_key)
    return [key.strip() for key in named.split(",")] if named else []


def wanted_columns(source: SourceConfig, names: list[str]) -> list[str]:
    """Those of a table's columns that a document could need."""
    if "*" in source.metadata:
        return names
    keys = {
        *(text_keys(source) or (*TEXT_KEYS, *chats.KEYS)),
        *LABELS,
        *source.columns.values(),
        *source.metadata,
        *_NESTED,
    }
    return [name for name in names if name in keys or any(key.startswith(f"{name}.") for key in keys)]


def has_lone_surrogate(text: str) -> bool:
    """Whether JSON's escapes made half a character of, say, an emoji, or bytes stood there that are no text."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def sample(text: str) -> str:
    """The beginning of `text` as a quarantine shows it: short, and surely UTF-8."""
    return text[: 4 * _SAMPLE_CHARACTERS].strip()[:_SAMPLE_CHARACTERS].encode(errors="backslashreplace").decode()


def _find(value: dict[str, Any], key: str) -> Any:
    """``value["a.b"]``, or ``value["a"]["b"]``; None where neither is there."""
    if key in value or "." not in key:
        return value.get(key)
    first, _, rest = key.partition(".")
    inner = value.get(first)
    return _find(inner, rest) if isinstance(inner, dict) else None


def _joined(text: Any) -> str | None:
    if isinstance(text, str):
        return text
    if isinstance(text, list) and text and all(isinstance(line, str) for line in text):
        return "\n".join(text)
    return None


def _metadata(value: dict[str, Any], source: SourceConfig, text_keys: list[str]) -> dict[str, Any]:
    """The plain values beside a row's text that its source keeps."""
    if not source.metadata:
        return {}
    taken = {*text_keys, *(source.columns.get(name, name) for name in LABELS)}
    found = {key: item for key, item in value.items() if key not in taken}
    for name in _NESTED:
        inner = found.get(name)
        if isinstance(inner, dict):
            found = {**inner, **found}
    # A name that `columns` gives to another column takes its place.
    renamed = {name: key for name, key in source.columns.items() if name not in ("text", *chats.KEYS, *LABELS)}
    found = {key: item for key, item in found.items() if key not in renamed.values()}
    found |= {name: _find(value, key) for name, key in renamed.items()}
    return plain_metadata(found, source)


def plain_metadata(found: dict[str, Any], source: SourceConfig) -> dict[str, Any]:
    """Those of the values that `source` keeps, as JSON can hold them; lists and objects are no single values."""
    if "*" not in source.metadata:
        found = {key: _find(found, key) for key in source.metadata}
    return {key: plain for key, item in found.items() if (plain := _plain(item)) is not None}


def _plain(item: Any) -> Any:
    if isinstance(item, float):
        return item if math.isfinite(item) else None
    if isinstance(item, str | int):
        return item
    if isinstance(item, date | datetime | time):
        return item.isoformat()
    return str(item) if isinstance(item, Decimal | UUID) else None
