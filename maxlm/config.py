"""Config files as JAX users type them, resolved once into frozen dataclasses.

A config file is Python with ``get_config([args])`` returning an ``ml_collections.ConfigDict``. The command line adds
``--config.a.b=value``. The schema is a tree of frozen dataclasses, and each default stands there, once.
"""

import ast
import dataclasses
import hashlib
import json
import runpy
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import ml_collections

from maxlm.errors import ConfigError, did_you_mean

T = TypeVar("T")
Overrides = Sequence[tuple[str, str]]  # (dotted key, text) as typed


def load(spec: str, overrides: Overrides, schema: type[T]) -> T:
    """Reads ``file.py[:args]``, applies ``(dotted key, text)`` overrides and freezes the result to `schema`.

    Raises:
      ConfigError: a missing file, an unknown key (with the nearest known one), or a value of the wrong type.
    """
    values = to_plain(_run_config_file(spec))
    for key, text in overrides:
        _override(values, key, text, schema)
    return freeze(schema, values)


def _run_config_file(spec: str) -> ml_collections.ConfigDict:
    file, _, argument = spec.partition(":")
    if not Path(file).is_file():
        found = sorted(str(p) for p in Path(file).parent.glob("*.py")) if Path(file).parent.is_dir() else []
        raise ConfigError(f"--config: no such file {file!r}" + (did_you_mean(file, found) if found else ""))
    try:
        get_config = runpy.run_path(file).get("get_config")
        if get_config is None:
            raise ConfigError(f"{file}: defines no get_config()")
        return get_config(argument) if argument else get_config()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{file}{_line_in(file, error)}: {_first_line(error)}") from error


def _line_in(file: str, error: Exception) -> str:
    """`", line N"`: the last line of the config file that an error passed through."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", line {lines[-1]}" if lines else ""


def _first_line(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split())


def to_plain(values: Any) -> Any:
    """ConfigDicts, tuples and mappings as plain dicts and lists, all the way down."""
    if isinstance(values, ml_collections.ConfigDict):
        values = values.to_dict()
    if isinstance(values, Mapping):
        return {key: to_plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [to_plain(value) for value in values]
    return values


def config_dict(defaults: Any) -> ml_collections.ConfigDict:
    """A locked ConfigDict holding a dataclass instance's values, for config files to change."""
    config = ml_collections.ConfigDict(to_plain(dataclasses.asdict(defaults)), type_safe=False)
    return config.lock()


def parse_overrides(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """``--config.a.b=value`` (or the value as the next argument) as ``("a.b", "value")`` pairs.

    Raises:
      ConfigError: an argument of another form, or one without a value.
    """
    overrides, rest = [], list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--config."):
            raise ConfigError(f"unknown argument {name!r}; try --help")
        if not equals:
            if not rest:
                raise ConfigError(f"{name}: needs a value ({name}=…)")
            value = rest.pop(0)
        overrides.append((name.removeprefix("--config."), value))
    return overrides


def _override(values: dict[str, Any], key: str, text: str, schema: Any) -> None:
    _set(values, key, lambda kind: text if kind is str else _parse_value(text), schema, f"--config.{key}")


def _set(values: dict[str, Any], key: str, value_as: Callable[[Any], Any], schema: Any, where: str) -> None:
    """Sets a dotted key; every part must exist in the schema (or in a mapping that the schema leaves open)."""
    *parents, last = key.split(".")
    for part in parents:
        schema = _field_type(schema, part, where)
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: {part} is no group of keys; give all of it: --config.…{part}=VALUE")
    values[last] = value_as(_field_type(schema, last, where))


def _field_type(schema: Any, name: str, where: str) -> Any:
    """The type of a group's key. Below a mapping of anything, anything goes."""
    if dataclasses.is_dataclass(schema):
        hints = typing.get_type_hints(schema)
        if name not in hints:
            raise ConfigError(f"{where}: unknown key {name!r}{did_you_mean(name, hints)}")
        return hints[name]
    if typing.get_origin(schema) is dict:
        return typing.get_args(schema)[1]
    if schema is Any:
        return Any
    raise ConfigError(f"{where}: {name!r} stands below a key that is no group of keys")


def _parse_value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def freeze(schema: type[T], values: Any, where: str = "config") -> T:
    """Checks `values` (nested mappings) against the dataclass `schema` and builds it. Missing keys take defaults."""
    return _convert(schema, to_plain(values), where)


def _convert(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(kind, value, where)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        kinds = [arg for arg in args if arg is not type(None)]
        lists = [kind for kind in kinds if typing.get_origin(kind) is tuple]
        return _convert((lists if isinstance(value, list) and lists else kinds)[0], value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: {value!r} is not a choice{did_you_mean(str(value), map(str, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{where}: expected a list, found {value!r}")
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a mapping, found {value!r}")
        return {str(k): _convert(args[1], item, f"{where}.{k}") for k, item in value.items()}
    return _convert_scalar(kind, value, where)


def _convert_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a group of keys, found {value!r}")
    hints = typing.get_type_hints(kind)
    fields = {}
    for name, item in value.items():
        if name not in hints:
            raise ConfigError(f"{where}.{name}: unknown key{did_you_mean(name, hints)}")
        fields[name] = _convert(hints[name], item, f"{where}.{name}")
    needed = {f.name for f in dataclasses.fields(kind) if _has_no_default(f)}
    if missing := sorted(needed - fields.keys()):
        raise ConfigError(f"{where}: needs {', '.join(missing)}")
    return kind(**fields)


def _has_no_default(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert_scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():  # 1e9 as people type it
        return int(value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if kind is not Any and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ConfigError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value


def to_dict(config: Any) -> dict[str, Any]:
    """A frozen config as plain JSON-ready values."""
    return to_plain(dataclasses.asdict(config))


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of plain values: equal configs have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as ``{"a.b": value}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The dotted keys in which two plain configs differ, with both values (None where a key is absent)."""
    a, b = flatten(before), flatten(after)
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def with_overrides(config: T, overrides: Overrides) -> T:
    """A frozen config with ``(dotted key, text)`` overrides applied."""
    values = to_dict(config)
    for key, text in overrides:
        _override(values, key, text, type(config))
    return freeze(type(config), values)


def with_changes(config: T, changes: Mapping[str, Any], where: str) -> T:
    """A frozen config with ``{dotted key: value}`` set.

    Raises:
      ConfigError: an unknown key or a value of the wrong type, told as one of `where`.
    """
    values = to_dict(config)
    for key, value in changes.items():
        _set(values, key, lambda _, value=value: to_plain(value), type(config), f"{where}: {key}")
    return freeze(type(config), values, where)
