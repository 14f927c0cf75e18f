"""Reads a compiled program's text (XLA's HLO): which collectives it runs, how often, how large, and what hides them.

The text is in the order in which the device runs it. Two ways of running a collective beside other work occur: an
instruction that begins it and one that ends it; and, on TPUs, a chain of fusions that carry its pieces beside a product
of their own, each of which repeats the collective's line.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_KERNEL = re.compile(r'custom_call_target="(tpu_custom_call|__cublas|__cudnn|__gpu|triton|mosaic)')

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_LIMIT = re.compile(r"^(\d+)\)")
_CHAIN = re.compile(r'chain_id="(\d+)"')
_SHAPE = re.compile(r"\b(\w+)\[([\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    kind: str
    times: int  # runs in one execution of the program
    bytes: int  # that a device sends in one run, if pieces go round a ring
    hidden: bool  # a product or a kernel runs between its begin and its end


@dataclass(frozen=True)
class _Instruction:
    name: str
    result: str
    opcode: str
    rest: str  # operands and attributes


def collectives(text: str) -> list[Collective]:
    """All collectives between several devices, those within loops counted as often as the loops turn.

    Raises:
      ValueError: collectives within a loop of which the text doesn't say how often it turns.
    """
    program, entry = _computations(text)
    times: dict[str, float] = defaultdict(int)
    _count(program, entry, 1, times)
    groups: dict[str, list[tuple[str, _Instruction]]] = defaultdict(list)  # of lines that mean the same collective
    for name, body in program.items():
        for one in body:
            if times[name] and _kind(one) and _group_size(one) > 1:
                chain = _CHAIN.search(one.rest)
                groups[chain[1] if chain else f"{name} {one.name}"].append((name, one))
    products = _products(program)
    hidden = {start for body in program.values() for start in _hidden(body, products)}
    return [_collective(program, lines, times, hidden) for lines in groups.values()]


def largest_arrays(text: str, dtype: str, at_least: int) -> list[tuple[int, ...]]:
    """Shapes of a dtype in the program that hold at least so many elements, largest first."""
    shapes = {tuple(int(n) for n in dims.split(",") if n) for kind, dims in _SHAPE.findall(text) if kind == dtype}
    return sorted((shape for shape in shapes if math.prod(shape) >= at_least), key=math.prod, reverse=True)


def _collective(
    program: dict, lines: list[tuple[str, _Instruction]], times: dict[str, float], hidden: set[str]
) -> Collective:
    places = {name for name, _ in lines}
    where, one = lines[0]
    callers = {one.name for body in program.values() for one in body if places & {*_called(one.rest)}}
    turns = max(times[name] for name in places)
    if math.isnan(turns):
        raise ValueError(f"{one.name} runs in a loop of which the program's text doesn't say how often it turns")
    kind, moved = _kind(one), _moved(one)
    if "all-reduce-scatter" in where:  # a TPU's fusion of a sum and the taking of one's part of it
        kind, moved = "reduce-scatter", moved // 2
    is_hidden = bool(hidden & callers) or any(one.name in hidden for _, one in lines)
    return Collective(kind, int(turns), moved, is_hidden)


def _computations(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    program: dict[str, list[_Instruction]] = {}
    entry, body = "", []
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            body = program.setdefault(match[2], [])
            entry = match[2] if match[1] else entry
        elif match := _INSTRUCTION.match(line):
            body.append(_Instruction(*match.groups()))
    return program, entry


def _called(rest: str) -> Iterator[str]:
    for single, several in _CALLED.findall(rest):
        yield from (part.strip().lstrip("%") for part in (single, *several.split(",")) if part.strip())


def _count(program: dict, name: str, times: float, found: dict[str, float]) -> None:
    """Adds how often each computation runs when `name` runs `times` times; NaN: not known."""
    found[name] += times
    for one in program.get(name, ()):
        turns = _turns(program, one) if one.opcode == "while" else 1
        for part in _called(one.rest):
            _count(program, part, times * turns, found)


def _turns(program: dict, loop: _Instruction) -> float:
    """How often a loop turns: as the text says, or as its condition compares a counter, which starts at 0, with."""
    if known := _TRIPS.search(loop.rest):
        return int(known[1])
    condition = program[_CONDITION.findall(loop.rest)[0]]
    limits = [int(match[1]) for one in condition if one.opcode == "constant" and (match := _LIMIT.match(one.rest))]
    compares = any("direction=LT" in one.rest for one in condition)
    return limits[0] if compares and len(limits) == 1 else math.nan


def _kind(one: _Instruction) -> str:
    kind = one.opcode.removesuffix("-start")
    return kind if kind in _KINDS else ""


def _group_size(one: _Instruction) -> int:
    """Devices between which a collective goes."""
    if pairs := re.search(r"source_target_pairs=\{(.*?)\}\}?", one.rest):
        return 2 if pairs[1] else 1
    if axes := re.search(r"replica_groups=mesh\[(.*?)\](?:, device_ids=\(.*?\)\))? \{(.*?)\}", one.rest):
        sizes = dict(re.findall(r"('\w+')=(\d+)", axes[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'\w+'", axes[2]))
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]", one.rest):
        return int(iota[2])
    if lists := re.search(r"replica_groups=\{\{([\d,]*)\}", one.rest):
        return lists[1].count(",") + 1
    raise ValueError(f"{one.name}: can't tell between which devices it goes: {one.rest[:200]}")


def _moved(one: _Instruction) -> int:
    """Bytes that a device sends: (n - 1) / n of the whole for each time that all of it goes round a ring of n."""
    total, ways, kind = sum(_sizes(one.result)), _group_size(one), _kind(one)
    begun = one.opcode.endswith("-start")  # names its operands beside its results, but for sums
    if kind == "collective-permute":
        return total // 2 if begun else total
    if kind in ("all-gather", "reduce-scatter") and begun:
        whole = total * ways // (ways + 1)  # one side is the whole, the other a part
    elif kind == "reduce-scatter":
        whole = total * ways  # the result is one part
    else:
        whole = total
    return whole * (ways - 1) // ways * (2 if kind == "all-reduce" else 1)


def _sizes(shapes: str) -> Iterator[int]:
    for dtype, dims in _SHAPE.findall(shapes):
        if dtype in _BYTES:
            yield _BYTES[dtype] * math.prod(int(n) for n in dims.split(",") if n)


def _products(program: dict[str, list[_Instruction]]) -> set[str]:
    """Computations in which products or kernels run, those that they call included."""
    calls = {name: {part for one in body for part in _called(one.rest)} for name, body in program.items()}
    found = {name for name, body in program.items() if any(_is_product(one) for one in body)}
    while more := {name for name, parts in calls.items() if name not in found and parts & found}:
        found |= more
    return found


def _is_product(one: _Instruction) -> bool:
    if one.opcode == "custom-call":  # a kernel, or a library's product; others only prepare something
        return _KERNEL.search(one.rest) is not None
    return one.opcode in ("dot", "convolution")


def _hidden(body: Iterable[_Instruction], products: set[str]) -> Iterator[str]:
    """Names of a computation's instructions that begin something during which products run."""
    begun: dict[str, bool] = {}
    for one in body:
        if one.opcode.endswith("-start") or one.name.startswith("async-collective-start"):
            begun[one.name] = False
        elif ended := next((start for start in begun if _ends(one, start)), None):
            if begun.pop(ended):
                yield ended
        elif _is_product(one) or products & {*_called(one.rest)}:
            begun = dict.fromkeys(begun, True)


def _ends(one: _Instruction, start: str) -> bool:
    if one.opcode.endswith("-done"):
        return re.search(rf"%?{re.escape(start)}[,)]", one.rest) is not None
    return one.name == start.replace("async-collective-start", "async-collective-done") != start
