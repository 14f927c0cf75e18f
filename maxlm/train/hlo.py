"""Reads a compiled program's text (XLA's HLO): which collectives it runs, how often, and how large they are."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_COLLECTIVE = re.compile(rf" = (.*?) ({_KINDS})(-start)?\(")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_SHAPE = re.compile(r"\b(\w+)\[([\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    kind: str
    times: int  # runs in one execution of the program
    bytes: int  # of its result on one device
    overlaps: bool  # begun and ended apart, so that other work goes on between


def collectives(text: str) -> list[Collective]:
    """All collectives of a program, those within loops counted as often as the loops turn."""
    bodies, entry = _computations(text)
    times: dict[str, int] = defaultdict(int)
    _count(bodies, entry, 1, times)
    found = []
    for name, lines in bodies.items():
        for line in lines if times[name] else ():
            if match := _COLLECTIVE.search(line):
                sizes = list(_sizes(match[1]))
                # The result of a begun one holds its operand too; the larger is what it moves.
                size = max(sizes) if match[3] else sum(sizes)
                apart = bool(match[3]) or "async" in name
                found.append(Collective(match[2], times[name], size, apart))
    return found


def largest_arrays(text: str, dtype: str, at_least: int) -> list[tuple[int, ...]]:
    """Shapes of a dtype in the program that hold at least so many elements, largest first."""
    shapes = {tuple(int(n) for n in dims.split(",") if n) for kind, dims in _SHAPE.findall(text) if kind == dtype}
    return sorted((shape for shape in shapes if math.prod(shape) >= at_least), key=math.prod, reverse=True)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            lines = bodies.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
        elif line.startswith("  "):
            lines.append(line)
    return bodies, entry


def _count(bodies: dict[str, list[str]], name: str, times: int, found: dict[str, int]) -> None:
    """Adds how often each computation runs when `name` runs `times` times."""
    found[name] += times
    for line in bodies.get(name, ()):
        called = [part for single, several in _CALLED.findall(line) for part in (single, *several.split(",")) if part]
        trips = _TRIPS.search(line)
        for part in called:
            _count(bodies, part.strip().lstrip("%"), times * (int(trips[1]) if trips else 1), found)


def _sizes(shapes: str) -> Iterator[int]:
    for dtype, dims in _SHAPE.findall(shapes):
        if dtype in _BYTES:
            yield _BYTES[dtype] * math.prod(int(n) for n in dims.split(",") if n)
