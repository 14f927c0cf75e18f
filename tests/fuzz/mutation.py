"""Valid files made hostile: JSON by its structure, protocol buffers by their fields, all else by its bytes.

Every mutation is drawn from hypothesis, so that what is found is shrunk, and the same seed finds it again.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy], Any]
_DEEP = 100_000  # brackets; Python gives up at 1,000, C code at the end of its stack


@dataclass(frozen=True)
class Raw:
    """Bytes that stand in JSON where a value should."""

    text: bytes


@dataclass(frozen=True)
class Link:
    """A symbolic link, in place of a file."""

    to: str


FOLDER, GONE, PIPE = "a folder", "gone", "a pipe"  # in place of a file
Content = bytes | Link | str

NUMBERS: list[Any] = [
    0, -1, 1, 2, 3, 1.5, -0.0, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**18, 10**30,
    1e308, Raw(b"NaN"), Raw(b"Infinity"), Raw(b"-Infinity"), Raw(b"1e999"), Raw(b"9" * 5000), Raw(b"-0"),
]  # fmt: skip
STRINGS: list[Any] = [
    "", "1", "-1", "0x10", "NaN", "\0", "a\0b", "/etc/passwd", "../../../../etc/passwd", "a/../../b", "..", ".",
    "C:\\x", "file:///etc/passwd", "gs://nowhere/x", "x" * 100_000, "\x1b[2J\x1b]0;gone\x07", "%s%n", "\u202e", "é",
    "\n\n\nerror: all is well", "{0.__class__}", Raw(b'"\\ud800"'), Raw(b'"\xff\xfe"'), Raw(b'"\xe4\xbd"'),
    Raw(b'"\\u0000"'),
]  # fmt: skip
OTHERS: list[Any] = [
    None, True, False, [], {}, [[]], [None], {"": None}, [0] * 10_000, {str(i): i for i in range(2000)},
    Raw(b"[" * _DEEP + b"]" * _DEEP), Raw(b'{"a":' * _DEEP + b"0" + b"}" * _DEEP), Raw(b"[" * 900 + b"]" * 900),
    Raw(b"]"), Raw(b"tru"),
]  # fmt: skip
HOSTILE = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(STRINGS), st.sampled_from(OTHERS), st.integers())


def dump(value: Any) -> bytes:
    """JSON, with `Raw` as it is, and pairs that stand in a dict's place twice."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs):
        return b"{" + b",".join(dump(key) + b":" + dump(item) for key, item in value.pairs) + b"}"
    if isinstance(value, dict):
        return b"{" + b",".join(dump(key) + b":" + dump(item) for key, item in value.items()) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(dump, value)) + b"]"
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Pairs:
    """An object with a key that stands in it twice."""

    pairs: tuple[tuple[Any, Any], ...]


Place = tuple[str | int, ...]


def _places(value: Any, at: Place = ()) -> list[Place]:
    found: list[Place] = [at]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*at, key))
    return found


def _at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def _with(value: Any, place: Place, new: Any) -> Any:
    if not place:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = _with(value[place[0]], place[1:], new)
    return copied


def mutate_json(draw: Draw, raw: bytes) -> bytes:
    """One to three changes to values, keys and lists."""
    tree = json.loads(raw)
    for _ in range(draw(st.integers(1, 3))):
        tree = _changed(draw, tree)
    return dump(tree)


def _changed(draw: Draw, tree: Any) -> Any:
    place = draw(st.sampled_from(_places(tree)))
    old = _at(tree, place)
    how = draw(st.sampled_from(["hostile", "hostile", "near", "copy", "drop", "add", "twice", "repeat"]))
    if how == "near":
        new = draw(st.sampled_from(_near(old)))
    elif how == "copy":
        new = _at(tree, draw(st.sampled_from(_places(tree))))
    elif how == "drop" and isinstance(old, dict) and old:
        gone = draw(st.sampled_from(sorted(old)))
        new = {key: item for key, item in old.items() if key != gone}
    elif how == "add" and isinstance(old, dict):
        new = {**old, draw(st.sampled_from([item for item in STRINGS if isinstance(item, str)])): draw(HOSTILE)}
    elif how == "twice" and isinstance(old, dict) and old:
        again = draw(st.sampled_from(sorted(old)))
        new = Pairs((*old.items(), (again, draw(HOSTILE))))
    elif how in ("repeat", "drop", "add") and isinstance(old, list):
        new = old * draw(st.sampled_from([0, 2, 300])) if how == "repeat" else [*old[:-1], draw(HOSTILE)]
    else:
        new = draw(HOSTILE)
    return _with(tree, place, new)


def _near(old: Any) -> list[Any]:
    """Values that almost fit."""
    if isinstance(old, bool) or old is None:
        return [not old, int(bool(old)), "true", "null"]
    if isinstance(old, int | float):
        number = int(old) if old == old and abs(old) < 1e300 else 0
        return [-old, old + 1, old - 1, str(old), float(number), number + 2**32, number * 2**40, number / 3]
    if isinstance(old, str):
        return [
            old + "\0",
            old + "/../x",
            "../" + old,
            "/" + old,
            old * 2,
            old[:-1],
            [old],
            old.upper(),
            {"content": old},
        ]
    return [[old], str(old), None, {"0": old}]


def mutate_lines(draw: Draw, raw: bytes) -> bytes:
    """A file of JSON objects, one a line: lines changed, cut, doubled, put elsewhere."""
    lines = raw.split(b"\n")
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["json", "json", "json", "bytes", "drop", "double", "swap", "hostile"]))
        if how == "json" and lines[number].startswith(b"{"):
            lines[number] = _try_json(draw, lines[number])
        elif how == "bytes":
            lines[number] = mutate_bytes(draw, lines[number])
        elif how == "drop" and len(lines) > 1:
            del lines[number]
        elif how == "double":
            lines.insert(number, lines[number])
        elif how == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[number], lines[other] = lines[other], lines[number]
        else:
            lines.insert(number, dump(draw(HOSTILE)))
    return b"\n".join(lines)


def _try_json(draw: Draw, raw: bytes) -> bytes:
    try:
        return mutate_json(draw, raw)
    except (ValueError, RecursionError):  # changed before, and no JSON any more
        return mutate_bytes(draw, raw)


def mutate_bytes(draw: Draw, raw: bytes) -> bytes:
    """Bits flipped, bytes put in, taken out, doubled or overwritten, the end cut off."""
    changed = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.sampled_from([1, 2, 4, 8, 64, 1000]))
        how = draw(st.sampled_from(["flip", "flip", "set", "insert", "delete", "double", "cut", "long"]))
        if how == "flip" and changed:
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "set":
            changed[place : place + length] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80"])) * length
        elif how == "insert":
            changed[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif how == "delete":
            del changed[place : place + length]
        elif how == "double":
            changed[place:place] = changed[place : place + length]
        elif how == "cut":
            del changed[place:]
        else:
            changed[place : place + 8] = struct.pack("<Q", draw(st.sampled_from([2**63, 2**40, 2**31, 10**6])))
    return bytes(changed)


def mutate_safetensors(draw: Draw, raw: bytes) -> bytes:
    """The header, its length, or what lies behind it."""
    (length,) = struct.unpack("<Q", raw[:8])
    header, rest = raw[8 : 8 + length], raw[8 + length :]
    header = mutate_json(draw, header)
    claimed = draw(st.sampled_from([len(header)] * 6 + [0, len(header) - 1, len(header) + 8, 2**31, 2**63, 2**64 - 1]))
    return struct.pack("<Q", claimed) + header + rest


def mutate_sentencepiece(draw: Draw, raw: bytes) -> bytes:
    """Pieces, scores, types and settings of the model."""
    from maxlm.tokenizer.spm_proto import _ModelProto  # the message is declared there, once

    model = _ModelProto()
    model.ParseFromString(raw)
    for _ in range(draw(st.integers(1, 3))):
        piece = model.pieces[draw(st.integers(0, len(model.pieces) - 1))]
        how = draw(st.sampled_from(["piece", "piece", "score", "type", "drop", "double", "spec", "normalizer"]))
        if how == "piece":
            other = model.pieces[draw(st.integers(0, len(model.pieces) - 1))].piece
            piece.piece = draw(
                st.sampled_from(["", "\0", other, "<0xZZ>", "<0x00>", "<s>", "x" * 100_000, "\u2581" * 9])
            )
        elif how == "score":
            piece.score = draw(st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e38, 0.0]))
        elif how == "type":
            piece.type = draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, -1, 2**31 - 1]))
        elif how == "drop":
            del model.pieces[draw(st.integers(0, len(model.pieces) - 1)) :]
        elif how == "double":
            model.pieces.add(piece=piece.piece, score=piece.score, type=piece.type)
        elif how == "spec":
            model.trainer_spec.model_type = draw(st.sampled_from([0, 1, 2, 3, 4, 5, -1]))
            model.trainer_spec.vocab_size = draw(st.sampled_from([0, -1, 1, 2**31 - 1]))
            model.trainer_spec.byte_fallback = draw(st.booleans())
        else:
            model.normalizer_spec.precompiled_charsmap = draw(st.binary(max_size=64))
            model.normalizer_spec.add_dummy_prefix = draw(st.booleans())
        if not model.pieces:
            break
    return model.SerializeToString()


MUTATORS: dict[str, Callable[[Draw, bytes], bytes]] = {
    "json": mutate_json,
    "lines": mutate_lines,
    "bytes": mutate_bytes,
    "safetensors": mutate_safetensors,
    "sentencepiece": mutate_sentencepiece,
}


def mutate_file(draw: Draw, raw: bytes, by_structure: Callable[[Draw, bytes], bytes]) -> Content:
    """A file changed by its structure, by its bytes, or put out of place altogether."""
    how = draw(st.sampled_from(["structure"] * 12 + ["bytes"] * 4 + ["value", "place"]))
    if how == "structure":
        return by_structure(draw, raw)
    if how == "bytes":
        return mutate_bytes(draw, raw)
    if how == "value":
        return draw(st.sampled_from([b"", b"\0" * 100, b"\xef\xbb\xbf" + raw, raw.decode("latin-1").encode("utf-16")]))
    return draw(
        st.sampled_from([FOLDER, GONE, PIPE, Link("/dev/zero"), Link("/etc/passwd"), Link("itself"), Link("..")])
    )
