"""What a rendering of a template takes, in turns: of loops, of calls, and of what these read and make.

A turn is about what Python does in a microsecond, so that their limit bounds the time; the memory is bounded by what
may be made in that many turns, and by the length of a single text.
"""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from typing import Any

from jinja2.utils import Namespace

MAX_CHARACTERS = 4_000_000  # of a text, or entries of a list, that a template may make
MAX_TURNS = 200_000  # in one rendering
_MAX_BITS = 4096
_CHARACTERS, _ENTRIES = 256, 8  # of a text and of a list, that cost a turn when they are made
_TOO_LONG = f"it makes a text or list of more than {MAX_CHARACTERS:,}"
_COMPARED = 4096  # characters against one another that cost a turn
_MOST_LEVELS = 1000  # of lists in lists: Python walks through tuples without a bound of its own when it hashes them
_HOLDING = (Mapping, list, tuple, range, Set, KeysView, ValuesView, ItemsView)


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

    def handing(self, args: Sequence[Any], named: Mapping[str, Any]) -> None:
        """A call is about to be made."""
        self.turn(1 + (len(args) + len(named)) // _ENTRIES)

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
        """`value`, which was made from what was weighed."""
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
            # At once, and still to be gone through once: Python bears no chain of thousands of generators.
            return iter(list(self.each(value)))
        return value

    def weigh(self, value: Any) -> int:
        """Characters of all texts within `value`; what stands there several times counts as often.

        Whoever writes, compares, sorts or hashes a value walks through it in the same way, and of lists in lists that
        walk may have no end.
        """
        characters, level = 0, [value]
        for _ in range(_MOST_LEVELS):
            if not level:
                return characters
            below: list[Any] = []
            for item in level:
                characters += self._weighed(item, below)
                if characters > MAX_CHARACTERS:
                    raise UnsafeTemplateError(_TOO_LONG)
            level = below
        raise UnsafeTemplateError(f"it makes more than {_MOST_LEVELS} lists in one another")

    def _weighed(self, item: Any, below: list[Any]) -> int:
        """Characters of a value by itself; what it holds is put `below`."""
        if isinstance(item, str | bytes):
            self.turn(1 + len(item) // _CHARACTERS)
            return len(item)
        self.turn()
        if isinstance(item, int):
            return item.bit_length() // 3  # digits
        if isinstance(item, Namespace):
            raise UnsafeTemplateError("it takes a namespace for a value")
        if isinstance(item, _HOLDING):
            if self._turns + len(item) + len(below) > MAX_TURNS:  # more than may be counted needn't stand in line
                self.turn(len(item) + len(below))
            below += item
            if isinstance(item, Mapping):
                below += item.values()
        return 0
