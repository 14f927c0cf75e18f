"""Jinja for templates that others wrote: no way out of it, no loop without end, no output without bounds.

Jinja's own sandbox keeps a template from Python's inside (attributes with underscores, modules, changes to what it is
given). It does not bound time and memory: what loops, calls and grows is counted here. The names and options are those
that `transformers` gives to chat templates.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_CHARACTERS = 4_000_000  # of a text, or entries of a list, that a template may make
_MAX_TURNS = 200_000  # of loops and calls in one rendering
_MAX_TEMPLATE = 200_000  # characters of its source
_MAX_POWER, _MAX_BITS = 64, 4096
_WIDTH = re.compile(r"\d{7,}")  # in a format: a field of a million places or more
BEGIN, END = "\ufdd1", "\ufdd2"  # around {% generation %}: noncharacters, which no text holds (Unicode, 23.7)


class UnsafeTemplateError(Exception):
    """A template went beyond what it may take."""


class Generation(Extension):
    """``{% generation %}…{% endgeneration %}``: what the model writes. Marked by BEGIN and END in the output."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja has it)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return f"{BEGIN}{caller()}{END}"


class Sandbox(ImmutableSandboxedEnvironment):
    """Counts what a rendering takes. One rendering at a time: each thread has a sandbox of its own."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols], cache_size=0)
        self._turns = 0
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace")}
        self.globals["raise_exception"] = _refuse
        self.filters = {name: _watched(name, filter_) for name, filter_ in self.filters.items()}
        self.filters |= {"tojson": _to_json, "counted": self._counted, "joined": _joined}

    def compiled(self, source: str) -> Template:
        """Raises UnsafeTemplateError, TemplateError: no template, or one that is too long."""
        if len(source) > _MAX_TEMPLATE:
            raise UnsafeTemplateError(f"it has {len(source):,} characters; at most {_MAX_TEMPLATE:,}")
        return self.from_string(source)

    def rendered(self, template: Template, values: Mapping[str, Any]) -> str:
        """Raises UnsafeTemplateError, TemplateError, and whatever an expression of the template raises."""
        self._turns, parts, length = 0, [], 0
        for part in template.generate(**values):
            parts.append(part)
            length += len(part)
            if length > MAX_CHARACTERS:
                raise UnsafeTemplateError(f"it writes more than {MAX_CHARACTERS:,} characters")
        return "".join(parts)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The syntax tree, with loops that are counted, and ``a ~ b`` as a filter, which is watched."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filter(loop.iter, "counted")  # pyright: ignore[reportArgumentType]
        return _Concats().visit(tree)

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore
        self._turn()
        name, subject = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        _check_growth(name, (subject, *args) if isinstance(subject, str) else args)
        return _checked(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self._turn()
        if operator == "*":
            for times, what in ((left, right), (right, left)):
                if isinstance(times, int) and isinstance(what, Sized) and times * len(what) > MAX_CHARACTERS:
                    raise UnsafeTemplateError(f"it makes a text or list of more than {MAX_CHARACTERS:,}")
        if operator == "**" and not (isinstance(right, int | float) and abs(right) <= _MAX_POWER):
            raise UnsafeTemplateError(f"it raises to a power above {_MAX_POWER}")
        if operator == "%":
            _check_format(left)
        return _checked(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        _check_format(getattr(value, "__self__", None))
        return super().wrap_str_format(value)

    def _counted(self, values: Any) -> Any:
        """What a loop goes over; lists and the like, whose length is known, stay what they are."""
        if not isinstance(values, Sized):
            return self._count_each(values)
        self._turn(len(values))
        return values

    def _count_each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._turn()
            yield value

    def _turn(self, count: int = 1) -> None:
        self._turns += count
        if self._turns > _MAX_TURNS:
            raise UnsafeTemplateError(f"it takes more than {_MAX_TURNS:,} turns of loops and calls")


class _Concats(NodeTransformer):
    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno, environment=node.environment), "joined")


def _filter(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _joined(values: list[Any]) -> str:
    return _checked("".join(map(str, values)))


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja's whose result can't grow without bounds."""

    @functools.wraps(function)  # which keeps what Jinja is to hand over
    def watched(*args: Any, **kwargs: Any) -> Any:
        _check_growth(name, [arg for arg in (*args, *kwargs.values()) if not isinstance(arg, Context | EvalContext)])
        return _checked(function(*args, **kwargs))

    return watched


def _check_growth(name: str, args: Sequence[Any]) -> None:
    """Raises before a function makes a text that is too long. `args`: the text that it begins with first."""
    if any(isinstance(arg, int) and abs(arg) > MAX_CHARACTERS for arg in args):
        raise UnsafeTemplateError(f"it asks {name} for more than {MAX_CHARACTERS:,}")
    texts = [arg for arg in args if isinstance(arg, str)]
    if name == "format" and texts:
        _check_format(texts[0])
    growth = 0
    if name == "replace" and len(texts) > 2:
        growth = texts[0].count(texts[1]) * len(texts[2])
    elif name == "join":
        growth = max(map(len, texts), default=0) * max((len(arg) for arg in args if isinstance(arg, Sized)), default=0)
    elif name == "indent" and len(texts) > 1:
        growth = texts[0].count("\n") * len(texts[1])
    if growth > MAX_CHARACTERS:
        raise UnsafeTemplateError(f"it makes a text of more than {MAX_CHARACTERS:,} characters")


def _check_format(text: Any) -> None:
    if isinstance(text, str) and _WIDTH.search(text):
        raise UnsafeTemplateError("it formats into a field of a million places or more")


def _checked(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise UnsafeTemplateError(f"it makes a number of more than {_MAX_BITS:,} bits")
    if isinstance(value, Sized) and len(value) > MAX_CHARACTERS:
        raise UnsafeTemplateError(f"it makes a text or list of more than {MAX_CHARACTERS:,}")
    return value


def _refuse(message: Any) -> NoReturn:
    raise TemplateError(str(message))


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    """As `transformers` has it: characters stay what they are, and nothing is escaped for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(indent, 16))
