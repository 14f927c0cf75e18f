"""What a rendering of a template takes, in turns: of loops, of calls, and of what these read and make.

A turn is about what Python does in a microsecond, so that their limit bounds the time; the memory is bounded by what
may be made in that many turns, and by the length of a single text.
"""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, Set, Sized, ValuesView
from typing import Any

from jinja2.utils import Namespace

MAX_CHARACTERS = 4_000_000  # of a text, or entries of a list, that a template may make
MAX_TURNS = 200_000  # in one rendering
_MAX_BITS = 4096
_CHARACTERS, _ENTRIES = 256, 8  # of a text and of a list, that cost a turn when they are made
_TOO_LONG = f"it makes a text or list of more than {MAX_CHARACTERS:,}"
_COMPARED = 4096  # characters against one another that cost a turn
_HOLDING = (list, tuple, range, Set, KeysView, ValuesView, ItemsView)


class UnsafeTemplateError(Exception):
    """A template went beyond what it may take."""


class Meter:
    """Counts. Every method raises UnsafeTemplateError beyond what a rendering may take."""

    def __init__(self) -> None:
        self._turns = 0

    def reset(self) -> None:
        self._turns = 0

    def turn(self, count: int = 1) -> None:
        self._turns += count
        if self._turns > MAX_TURNS:
            raise UnsafeTemplateError(f"it takes more than {MAX_TURNS:,} turns of loops and calls")

    def each(self, values: Iterator[Any]) -> Iterator[Any]:
        """The same, counted as they come."""
        for value in values:
            self.turn()
            yield value

    def making(self, length: int) -> None:
        """A text of `length` characters is about to be made."""
        if length > MAX_CHARACTERS:
            raise UnsafeTemplateError(_TOO_LONG)
        self.turn(1 + length // _CHARACTERS)

    def searching(self, text: Any, what: Sequence[Any]) -> None:
        """`what` is about to be looked for in `text` in a way that may compare all with all."""
        longest = max((len(one) for one in what if isinstance(one, str)), default=0)
        self.turn(len(text) * longest // _COMPARED if isinstance(text, str) else 0)

    def made(self, value: Any) -> Any:
        """`value`, which was made from what was weighed; what comes one by one is counted when it comes."""
        if isinstance(value, str):
            self.making(len(value))
        elif isinstance(value, int):
            if value.bit_length() > _MAX_BITS:
                raise UnsafeTemplateError(f"it makes a number of more than {_MAX_BITS:,} bits")
        elif isinstance(value, list | tuple | dict):
            if len(value) > MAX_CHARACTERS:
                raise UnsafeTemplateError(_TOO_LONG)
            self.turn(1 + len(value) // _ENTRIES)
        elif isinstance(value, Iterator):
            return self.each(value)
        return value

    def weigh(self, value: Any) -> int:
        """Characters of all texts within `value`; what stands there several times counts as often.

        Whoever writes, compares, sorts or hashes a value walks through it in the same way, and of lists in lists that
        walk may have no end.
        """
        characters, waiting = 0, [value]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str | bytes):
                characters += len(item)
                self.making(max(len(item), characters if characters > MAX_CHARACTERS else 0))
                continue
            self.turn()
            if isinstance(item, Mapping):
                self._room(item, waiting)
                waiting += item.keys()
                waiting += item.values()
            elif isinstance(item, _HOLDING):
                self._room(item, waiting)
                waiting += item
            elif isinstance(item, Namespace):
                raise UnsafeTemplateError("it takes a namespace for a value")
        return characters

    def _room(self, held: Sized, waiting: Sequence[Any]) -> None:
        """Before the entries of a list stand in line: more than may be counted needn't."""
        if self._turns + len(held) + len(waiting) > MAX_TURNS:
            self.turn(len(held) + len(waiting))
