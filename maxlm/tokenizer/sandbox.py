"""Jinja for templates that others wrote: no way out of it, no loop without end, no output without bounds.

Jinja's own sandbox keeps a template from Python's inside (attributes with underscores, modules, changes to what it is
given). It does not bound time and memory. Here a template has those filters, tests and methods alone that chat
templates use, and whatever loops, reads, compares or makes a value is counted (meter.py). The names and options are
those that `transformers` gives to chat templates, but for formats (``%``, ``format``), whose fields have any width.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, NoReturn

from jinja2 import Environment, Template, TemplateError, Undefined, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import do_indent
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from maxlm.tokenizer.marks import BEGIN, END, SHIELD
from maxlm.tokenizer.meter import MAX_CHARACTERS, Meter, UnsafeTemplateError
from maxlm.tokenizer.shield import Shield, plain, text_of

_MAX_TEMPLATE = 200_000  # characters of its source
_MAX_POWER = 64
_MAX_INDENT = 16  # characters of an indent, or a separator, of JSON
_MAX_ATTRIBUTE = 200  # characters of the name of one, whose parts are looked for in each entry
_ATTRIBUTE = {"map": 99, "selectattr": 2, "rejectattr": 2, "sort": 4}  # the argument that names one, if not by its name
# Methods that may read their text once for each character of what they look for.
_SEARCHING = {"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip"}
_LONG = 256  # characters of a constant that is weighed as a value is
_TITLED = 2  # characters that cost a turn when words are capitalized
_NODES = 16  # of a loop's body, or a macro's, that cost a turn each time
# Filters that take an argument's length alone, or one entry after the other; the others walk through all of it.
_SHALLOW = {
    "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject", "rejectattr", "reverse",
    "select", "selectattr",
}  # fmt: skip
_OF_TEXTS = {"capitalize", "lower", "title", "trim", "upper"}
_FILTERS = _SHALLOW | _OF_TEXTS | {"abs", "dictsort", "float", "int", "sort", "string"}
_COMPARING = {
    "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", ">=", "ge", "<", "lt", "lessthan", "<=", "le", "in",
}  # fmt: skip
_TESTS = _COMPARING | {
    "boolean", "defined", "divisibleby", "even", "false", "float", "integer", "iterable", "lower", "mapping", "none",
    "number", "odd", "sequence", "string", "true", "undefined", "upper",
}  # fmt: skip
_METHODS: dict[type, set[str]] = {
    str: {
        "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
        "islower", "isnumeric", "isspace", "isupper", "join", "lower", "lstrip", "partition", "removeprefix",
        "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines",
        "startswith", "strip", "title", "upper",
    },
    dict: {"get", "items", "keys", "values"},
    list: {"count", "index"},
    tuple: {"count", "index"},
    LoopContext: {"cycle"},
}  # fmt: skip
_NOT_ASCII = re.compile(f"[^\0-~{SHIELD}]")  # a shield is no part of what is written
_JINJAS = ("_loop_vars", "_block_vars")  # what Jinja adds to calls


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

    def __init__(self, shield: Shield) -> None:
        self._meter, self._shield = Meter(), shield
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[Generation, loopcontrols],
            cache_size=0,
            finalize=self._written,
        )
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace")}
        self.globals["raise_exception"] = _refuse
        self.filters = {name: self._watched(name, self.filters[name]) for name in sorted(_FILTERS)}
        self.filters["string"] = self._watched("string", text_of)
        self.filters |= {"safe": lambda value: value, "tojson": self._to_json}
        self.filters |= {"indent": self._indent, "join": self._join, "replace": self._replace}
        self.filters |= {":counted": self._counted, ":joined": self._joined, ":weighed": self._weighed}
        self.filters |= {":turns": self._turns, ":compared": self._compared, ":sliced": self._sliced}
        self.tests = {name: self._watched(name, self.tests[name]) for name in sorted(_TESTS)}

    def compiled(self, source: str) -> Template:
        """Raises UnsafeTemplateError, TemplateError: no template, or one that is too long."""
        if len(source) > _MAX_TEMPLATE:
            raise UnsafeTemplateError(f"it has {len(source):,} characters; at most {_MAX_TEMPLATE:,}")
        self._meter.reset()  # what Jinja reckons while it compiles is counted too
        return self.from_string(source)

    def looked_for(self, source: str) -> set[str]:
        """The plain names of keys by which a template may look for what messages hold."""
        tree = super()._parse(source, None, None)
        names = {node.attr for node in tree.find_all(nodes.Getattr)}
        return names | {
            node.value
            for node in tree.find_all(nodes.Const)
            if isinstance(node.value, str) and node.value.isidentifier()
        }

    def rendered(self, template: Template, values: Mapping[str, Any]) -> str:
        """Raises UnsafeTemplateError, TemplateError, and whatever an expression of the template raises."""
        self._meter.reset()
        parts, length = [], 0
        for part in template.generate(**values):
            parts.append(part)
            length += len(part)
            if length > MAX_CHARACTERS:
                raise UnsafeTemplateError(f"it writes more than {MAX_CHARACTERS:,} characters")
        return "".join(parts)

    def concat(self, parts: Iterable[str]) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the body of a macro, or of ``{% set %}``, wrote."""
        parts = list(parts)
        self._meter.making(sum(map(len, parts)))
        return "".join(parts)

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore
        self._meter.handing(args, kwargs)
        name, subject = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if isinstance(function, Macro | Undefined) or isinstance(subject, Generation):
            return super().call(context, function, *args, **kwargs)
        if any(function is known for known in self.globals.values()):
            self._meter.weigh(args)  # what stands by name is kept as it is
        elif any(isinstance(subject, kind) and name in names for kind, names in _METHODS.items()):
            given = {key: value for key, value in kwargs.items() if key not in _JINJAS}
            if isinstance(subject, str) and name == "join":
                return self._join(*args, separator=subject, **given)
            if isinstance(subject, str) and name == "replace":
                return self._replace(subject, *args, **given)
            self._meter.weigh([subject if isinstance(subject, str | list | tuple) else None, args, [*given.values()]])
            if isinstance(subject, str) and name in _SEARCHING:
                self._meter.searching(subject, args)
        else:
            raise UnsafeTemplateError(f"it calls {name or type(function).__name__}, which templates may not")
        called = functools.partial(super().call, context)
        if isinstance(subject, str):
            return self._meter.made(
                self._shield.through(
                    lambda text, *args, **kwargs: called(getattr(text, name), *args, **kwargs), subject, *args, **kwargs
                )
            )
        return self._meter.made(called(function, *args, **kwargs))

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A character of a text, too."""
        if isinstance(obj, str) and isinstance(argument, int):
            return self._shield.through(super().getitem, obj, argument)
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self._meter.turn()
        if operator == "*":
            for times, what in ((left, right), (right, left)):
                if isinstance(times, int) and isinstance(what, Sized) and times * len(what) > MAX_CHARACTERS:
                    raise UnsafeTemplateError(f"it makes a text or list of more than {MAX_CHARACTERS:,}")
        if operator == "**" and not (isinstance(right, int | float) and abs(right) <= _MAX_POWER):
            raise UnsafeTemplateError(f"it raises to a power above {_MAX_POWER}")
        if operator == "%" and isinstance(left, str | bytes):
            raise UnsafeTemplateError("it formats a text (%), which templates may not; join its parts with ~")
        return self._meter.made(super().call_binop(context, operator, left, right))

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The syntax tree, in which everything that takes time is counted by filters."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            if loop.recursive:
                raise UnsafeTemplateError("it has a recursive loop, which templates may not")
            loop.iter = _filter(loop.iter, ":counted", 1 + _size(loop) // _NODES)
        for body in [*tree.find_all(nodes.Macro), *tree.find_all(nodes.CallBlock)]:
            nothing = nodes.Const(None, lineno=body.lineno, environment=self)
            turns = _filter(nothing, ":turns", 1 + _size(body) // _NODES)
            body.body.insert(0, nodes.ExprStmt(turns, lineno=body.lineno, environment=self))
        return _Watching().visit(tree)

    # Filters of our own. Those that are given the context are never reckoned ahead, when a template is compiled; what
    # stands in the syntax tree alone has a name with a colon, which no template can write.

    @pass_context
    def _counted(self, _: Context, values: Any, weight: int) -> Any:
        """What a loop goes over; lists and the like, whose length is known, stay what they are."""
        if not isinstance(values, Sized):
            return self._each(values, weight)
        self._meter.turn(weight * len(values))
        return self._characters(values) if isinstance(values, str) else values

    def _each(self, values: Iterable[Any], weight: int) -> Iterator[Any]:
        for value in values:
            self._meter.turn(weight)
            yield value

    @pass_context
    def _turns(self, _: Context, value: Any, weight: int) -> Any:
        self._meter.turn(weight)
        return value

    @pass_context
    def _weighed(self, _: Context, value: Any) -> Any:
        self._meter.weigh(value)
        return value

    @pass_context
    def _compared(self, _: Context, value: Any) -> Any:
        self._meter.weigh(value)
        return plain(value)

    @pass_context
    def _sliced(self, _: Context, value: Any, *edges: Any) -> Any:
        which = slice(*edges)
        if isinstance(value, str):
            return self._meter.made(self._shield.through(lambda text: text[which], value))
        return self._meter.made(value[which])

    def _characters(self, text: str) -> list[str]:
        return self._shield.through(list, text)

    @pass_context
    def _joined(self, _: Context, values: list[Any]) -> str:
        self._meter.weigh(values)
        return "".join(map(text_of, values))

    def _written(self, value: Any) -> str:
        """What ``{{ … }}`` writes."""
        self._meter.weigh(value)
        return text_of(value)

    def _join(self, values: Any, separator: str = "", attribute: str | int | None = None) -> str:
        if attribute is not None:
            raise UnsafeTemplateError("it joins an attribute; say map(attribute=…) before join")
        values = self._characters(values) if isinstance(values, str) else values
        values, separator = list(self._meter.each(iter(values))), self._written(separator)
        self._meter.making(self._meter.weigh(values) + len(separator) * len(values))
        return separator.join(map(text_of, values))

    def _indent(self, text: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
        self._meter.weigh((text, width))
        text, wide = text_of(text), len(width) if isinstance(width, str) else width
        self._meter.making(len(text) + (1 + len(text.splitlines())) * wide)
        return self._shield.through(lambda text: do_indent(text, width, first, blank), text)

    def _replace(self, text: Any, old: str, new: str, count: int | None = None) -> str:
        self._meter.weigh((text, old, new))
        text, old, new = text_of(text), text_of(old), text_of(new)
        times = min(plain(text).count(plain(old)), len(text) + 1 if count is None or count < 0 else count)
        self._meter.making(len(text) + times * len(new))
        if not times:
            return text
        if not old:
            return self._shield.through(lambda text: text.replace("", new, times), text)
        return new.join(self._shield.through(lambda text, old: text.split(old, times), text, old))

    def _to_json(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: Iterable[str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """As `transformers` has it: characters stay what they are, and nothing is escaped for HTML."""
        self._meter.weigh(value)
        between = None if separators is None else tuple(map(str, separators))
        for given in (indent, *(between or ())):
            if (len(given) if isinstance(given, str) else given or 0) > _MAX_INDENT:
                raise UnsafeTemplateError(f"it writes JSON with more than {_MAX_INDENT} characters between entries")
        encoder = json.JSONEncoder(
            ensure_ascii=False,
            indent=indent,
            separators=between,  # pyright: ignore[reportArgumentType]
            sort_keys=sort_keys,
        )
        if indent is None:
            text = self._meter.made(encoder.encode(value))
            return self._meter.made(_NOT_ASCII.sub(_escape, text)) if ensure_ascii else text
        parts, length = [], 0
        for part in encoder.iterencode(value):  # depth times indent is no part of what was weighed
            length += len(part)
            if length > MAX_CHARACTERS:
                break
            parts.append(part)
        self._meter.making(length)
        text = "".join(parts)
        return self._meter.made(_NOT_ASCII.sub(_escape, text)) if ensure_ascii else text

    def _watched(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter, or a test, of Jinja's that is counted."""
        deep = name in _COMPARING or name in _FILTERS - _SHALLOW

        @functools.wraps(function)  # which keeps what Jinja is to hand over
        def watched(*args: Any, **kwargs: Any) -> Any:
            self._meter.handing(args, kwargs)
            args = tuple(list(arg) if deep and isinstance(arg, Iterator) else arg for arg in args)
            given = [arg for arg in args if isinstance(arg, Environment | Context | EvalContext)]  # which come first
            subject, *others = args[len(given) :]
            self._meter.weigh([subject if deep else None, others, *kwargs.values()])
            for attribute in (kwargs.get("attribute"), *args[_ATTRIBUTE[name] :][:1]) if name in _ATTRIBUTE else ():
                if isinstance(attribute, str) and len(attribute) > _MAX_ATTRIBUTE:
                    raise UnsafeTemplateError(f"an attribute's name has more than {_MAX_ATTRIBUTE} characters")
            if name == "trim":
                self._meter.searching(subject, (*others, *kwargs.values()))
            if name == "title":
                self._meter.turn(len(str(subject)) // _TITLED)
            if name in _COMPARING:
                subject, *others = map(plain, (subject, *others))
            subject = text_of(subject) if name in _OF_TEXTS else subject
            called = functools.partial(function, *given)
            if isinstance(subject, str) and name in _FILTERS and name not in ("d", "default"):
                return self._meter.made(self._shield.through(called, subject, *others, **kwargs))
            return self._meter.made(called(subject, *others, **kwargs))

        return watched


class _Watching(NodeTransformer):
    """Puts filters where Jinja would write, compare, hash or copy values by itself."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (Jinja's name)
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno, environment=node.environment), ":joined")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _weighed(node.expr, ":compared")
        for operand in node.ops:
            operand.expr = _weighed(operand.expr, ":compared")
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.key = _weighed(node.key)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            nothing = nodes.Const(None, lineno=node.lineno, environment=node.environment)
            made = _filter(node.node, ":sliced")
            made.args = [edge or nothing for edge in (node.arg.start, node.arg.stop, node.arg.step)]
            return made
        node.arg = _weighed(node.arg)
        return node


def _weighed(node: nodes.Expr, how: str = ":weighed") -> nodes.Expr:
    known = isinstance(node, nodes.Const) and not (isinstance(node.value, str) and len(node.value) > _LONG)
    return node if known else _filter(node, how)


def _filter(node: nodes.Node, name: str, *args: int) -> nodes.Filter:
    line, environment = node.lineno, node.environment
    given = [nodes.Const(arg, lineno=line, environment=environment) for arg in args]
    return nodes.Filter(node, name, given, [], None, None, lineno=line, environment=environment)


def _size(node: nodes.Node) -> int:
    return sum(1 for _ in node.find_all(nodes.Node))


def _escape(character: re.Match[str]) -> str:
    """As JSON has it: of UTF-16, each half by itself."""
    halves = character[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{halves[place : place + 4]}" for place in range(0, len(halves), 4))


def _refuse(message: Any) -> NoReturn:
    raise TemplateError(str(message))
