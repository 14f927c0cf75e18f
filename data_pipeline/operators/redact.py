"""E-mail addresses and telephone numbers, put out of sight behind `<email>` and `<phone>`.

Patterns run on google-re2, whose time is linear in the text: no input can stall it. RE2 has no look-around, so what
may not stand before and after a number is checked here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import re2

from data_pipeline.operators.base import Draft, Edit

# RFC 5321 allows more in a local part than anybody uses; this is the dot-atom of RFC 5322 less its rarest signs. The
# top domain ends where its case does, since text without spaces may go on right behind it: name@host.comQQ.
_EMAIL = re2.compile(
    rb"[A-Za-z0-9](?:[A-Za-z0-9._%+\-]{0,62}[A-Za-z0-9_+\-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+(?:[A-Za-z][a-z]{1,23}|[A-Z]{2,24})"
)
# Names with an @ that are files (logo@2x.png) or remotes (git@host:path), not people.
_NO_TOP_DOMAIN = set(b"png jpg jpeg gif svg webp css js ts py json html md".split())
_REMOTE_USERS = {b"git", b"hg", b"svn"}

_PHONE = re2.compile(
    rb"|".join(
        [
            # International (ITU-T E.164): +, country, at most 15 digits, in groups. (0) is the trunk digit some write.
            rb"\+[1-9][0-9]{0,2}(?:\.[0-9]{2,12}){1,6}",
            rb"\+[1-9][0-9]{0,2}(?:[ \-]?\([0-9]{1,4}\))?(?:[ \-]?[0-9]{1,12}){1,6}",
            # Mainland China: mobile 1[3-9] and nine digits, also as 3-4-4; 86 may go before.
            rb"(?:(?:00)?86[ \-]?)?1[3-9][0-9](?:[0-9]{8}| [0-9]{4} [0-9]{4}|-[0-9]{4}-[0-9]{4})",
            # Mainland China: area code (0, two or three digits), seven or eight digits, maybe an extension.
            rb"(?:\(0[1-9][0-9]{1,2}\) ?|0[1-9][0-9]{1,2}-)[2-8][0-9]{2,3} ?-?[0-9]{4}(?:-[0-9]{1,5})?",
            # North America (NANP): area and exchange begin with 2 to 9.
            rb"(?:1[ .\-])?\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .\-][0-9]{4}",
            rb"(?:1-)?[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}",
            rb"(?:1\.)?[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4}",
        ]
    )
)
_MIN_DIGITS, _MAX_DIGITS = 8, 15
_JOINS_DIGITS = {b".", b"-", b"+", b"*", b"="}  # between digits: a piece of a version, an ISBN or a sum
_JOINS_WORDS = {b"-", b"/", b"+"}  # after a letter: a piece of a path or of a serial number

Kind = Literal["email", "phone"]


@dataclass(frozen=True)
class Redact(Edit):
    """Replaces personal contact details by typed placeholders and counts them by kind."""

    kinds: tuple[Kind, ...] = ("email", "phone")

    def edit(self, draft: Draft) -> tuple[str, dict[str, int]]:
        raw = draft.text.encode()
        counts: dict[str, int] = {}
        for kind in self.kinds:
            pattern, is_real, hint = _FINDERS[kind]
            if hint is None or hint in raw:
                raw, counts[kind] = _replace(raw, pattern, is_real, f"<{kind}>".encode())
        return raw.decode(), counts


def _replace(raw: bytes, pattern: Any, is_real: Callable[[bytes, int, int], bool], by: bytes) -> tuple[bytes, int]:
    pieces, end, count = [], 0, 0
    for match in pattern.finditer(raw):
        if is_real(raw, match.start(), match.end()):
            pieces += [raw[end : match.start()], by]
            end, count = match.end(), count + 1
    return b"".join([*pieces, raw[end:]]), count


def _is_email(raw: bytes, start: int, end: int) -> bool:
    user, _, host = raw[start:end].partition(b"@")
    top = host.rpartition(b".")[2]
    if top.lower() in _NO_TOP_DOMAIN:
        return False
    if user.lower() in _REMOTE_USERS and raw[end : end + 1] in (b":", b"/"):
        return False
    return raw[max(0, start - 2) : start] != b"//"  # ssh://user@host, https://user@host


def _is_phone(raw: bytes, start: int, end: int) -> bool:
    """Whether a match is a number by itself and not a piece of something longer."""
    digits = sum(48 <= byte <= 57 for byte in raw[start:end])
    if not _MIN_DIGITS <= digits <= _MAX_DIGITS:
        return False
    before, after = raw[max(0, start - 2) : start], raw[end : end + 2]
    if before[-1:] in (b"$", b"=") or after[:1] == b"$":  # a sum of money, a formula, an assignment
        return False
    if _is_word(before[-1:]) or _is_word(after[:1]):
        return False
    joins = _JOINS_DIGITS if before[:1].isdigit() else _JOINS_WORDS
    if len(before) == 2 and _is_word(before[:1]) and before[-1:] in joins:
        return False
    return not (after[:1] in _JOINS_DIGITS and after[1:].isdigit())


def _is_word(byte: bytes) -> bool:
    return byte.isalnum() or byte == b"_"


_FINDERS: dict[str, tuple[Any, Callable[[bytes, int, int], bool], bytes | None]] = {
    "email": (_EMAIL, _is_email, b"@"),
    "phone": (_PHONE, _is_phone, None),
}
