"""What people typed is never read as a special token: a character that no text holds stands in it where it could be.

A name could be read within a text, across its beginning or its end, or around all of it. So a text is shielded as it
comes in, and again whenever the template takes it apart or alters it (``trim``, ``lower``, ``split``, a slice); a
template may put texts together as it likes.
"""

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, KeysView, Set, ValuesView
from typing import Any

from maxlm.tokenizer.marks import SHIELD
from maxlm.tokenizer.meter import UnsafeTemplateError

_SPELT = re.compile(r"(?<!\\)((?:\\\\)*)\\ufdd0")


class Shield:
    """Knows the names of special tokens.

    Attributes:
      written: finds the names that the template wrote, in what it rendered; behind those of people a shield may stand.
    """

    def __init__(self, names: Iterable[str]):
        found = sorted(filter(None, names), key=len, reverse=True)
        either = _any_of(found) if found else "(?!)"
        self.written = re.compile(f"{either}(?!{SHIELD})")
        # Names may overlap, so each is looked for at every place.
        self._typed = re.compile(f"(?={either})(.)", re.DOTALL)
        self._beginnings = {name[:end] for name in found for end in range(1, len(name))}
        self._ends = {name[begin:] for name in found for begin in range(1, len(name))}
        self._all = SHIELD.join(found)
        self._longest = len(found[0]) if found else 0
        self._kept: set[str] = set()

    def keep(self, words: Iterable[str]) -> None:
        """Words that stay what they are though they be a part of a name: the template itself speaks of them."""
        self._kept = {word.casefold() for word in words}

    def within(self, text: str) -> str:
        """`text`, which has no shields, so that no name in it is read; it may still be a part of one."""
        return self._typed.sub(rf"\1{SHIELD}", text)

    def put(self, text: str) -> str:
        """`text`, which has no shields, so that no name is read in it, or with what stands around it."""
        shielded = self.within(text)
        if not text or text.casefold() in self._kept:
            return shielded
        begins, ends = self._edges(text)
        ends = ends or (len(text) < self._longest and text in self._all)
        return _shielded(shielded, begins, ends)

    def through(self, change: Callable[..., Any], text: str, *others: Any, **named: Any) -> Any:
        """What `change`, which takes a text apart or alters it, makes of `text`: texts that are shielded.

        Raises:
          UnsafeTemplateError: `text` holds names that the template wrote, and another comes to be.
        """
        if own := Counter(self.written.findall(text)):
            made = change(text, *others, **named)
            return _each(lambda part: self._of_both(part, own), made)
        bare = plain(text)
        made = change(bare, *map(plain, others), **{name: plain(value) for name, value in named.items()})
        return text if isinstance(made, str) and made == bare else _each(self.put, made)

    def _of_both(self, text: str, own: Counter[str]) -> str:
        """A text made of one that holds names which the template wrote, `own`."""
        text = text.lstrip(SHIELD)
        found = list(self.written.finditer(text))
        if new := Counter(name[0] for name in found) - own:
            raise UnsafeTemplateError(f"it makes the name of a special token, {next(iter(new))}, out of other text")
        begins, ends = self._edges(text)
        return _shielded(
            text,
            begins and not (found and found[0].start() == 0),
            ends and not (found and found[-1].end() == len(text)),
        )

    def _edges(self, text: str) -> tuple[bool, bool]:
        """Whether it begins with an end of a name, and ends with a beginning."""
        lengths = range(1, min(self._longest, len(text) + 1))
        begins = any(text[:length] in self._ends for length in lengths)
        return begins, any(text[-length:] in self._beginnings for length in lengths)


def plain(value: Any) -> Any:
    """`value` without shields, in lists and objects too."""
    if isinstance(value, str):
        return value.replace(SHIELD, "")
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, KeysView):
        return dict.fromkeys(map(plain, value)).keys()
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return list(map(plain, value)) if isinstance(value, list | Set | ValuesView) else value


def text_of(value: Any) -> str:
    """As Python writes it, but for shields, which it would spell out within lists."""
    return value if isinstance(value, str) else _SPELT.sub(rf"\1{SHIELD}", str(value))


def _any_of(names: Iterable[str]) -> str:
    """A pattern of the names, longest first, that reads what several begin with once."""
    ways = []
    for _, several in itertools.groupby(sorted(filter(None, names)), key=lambda name: name[0]):
        several = list(several)
        head = os.path.commonprefix(several)  # noqa: RUF071 (texts, no paths)
        rests = [name.removeprefix(head) for name in several]
        ways.append(re.escape(head) + (_any_of(rests) if any(rests) else ""))
    return f"(?:{'|'.join(ways)})" + ("?" if "" in names else "")


def _shielded(text: str, begins: bool, ends: bool) -> str:
    if begins and text[1:2] != SHIELD:
        text = text[0] + SHIELD + text[1:]
    return text + SHIELD if ends and text[-1] != SHIELD else text


def _each(shielded: Callable[[str], str], made: Any) -> Any:
    """`made`, a text or texts in a row, with all of them shielded."""
    if isinstance(made, str):
        return shielded(made)
    if isinstance(made, list | tuple):
        return type(made)(_each(shielded, part) for part in made)
    return (_each(shielded, part) for part in made) if isinstance(made, Iterator) else made
