"""Numbers that carry their own check: Chinese identity numbers and bank cards."""

from collections.abc import Iterator
from datetime import date

from data_pipeline.operators.redaction.view import Span, View, numbers, pattern

# GB 11643-1999: area (6), date of birth (8), serial (3), check (1); some write it in these groups.
_ID_NUMBER = pattern(rb"[1-8][0-9]{5}[ \-]?(?:18|19|20)[0-9]{6}[ \-]?[0-9]{3}[0-9Xx]")
_PROVINCES = frozenset(
    b"11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = b"10X98765432"

_CARD = pattern(rb"[2-689][0-9]{3}(?:[ \-]?[0-9]){10,15}(?:[ \-][0-9]{1,4})?")
# Issuers' ranges (ISO/IEC 7812; the schemes' published tables) as prefixes from, to, and lengths. Visa's 13 digits are
# no longer issued, and Maestro's 12 to 15 and unregistered ranges would take every tenth order number.
_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (6011, 6011, (16, 19)),  # Discover
    (644, 649, (16, 19)),
    (65, 65, (16, 19)),
    (3528, 3589, (16, 19)),  # JCB
    (300, 305, (14, 16)),  # Diners Club
    (3095, 3095, (14, 16)),
    (36, 36, (14, 16)),
    (38, 39, (14, 16)),
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (81, 81, (16, 17, 18, 19)),
    (2200, 2204, (16, 19)),  # Mir
    (5018, 5018, (16, 19)),  # Maestro
    (5020, 5020, (16, 19)),
    (5038, 5038, (16, 19)),
    (5893, 5893, (16, 19)),
    (6304, 6304, (16, 19)),
    (6759, 6763, (16, 19)),
    (508, 508, (16,)),  # RuPay
    (60, 60, (16,)),
    (82, 82, (16,)),
    (9792, 9792, (16,)),  # Troy
)
_CARD_GROUPS = {(4, 4, 4, 4), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (6, 13)}
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def find_id_numbers(view: View) -> Iterator[Span]:
    """Identity numbers of the People's Republic, 18 digits, in order."""
    return numbers(_ID_NUMBER, view, _judge_id)


def find_bank_cards(view: View) -> Iterator[Span]:
    """Numbers of bank cards, in order."""
    return numbers(_CARD, view, _judge_card)


def _judge_id(view: View, start: int, end: int) -> Span | None:
    number = view.raw[start:end].replace(b" ", b"").replace(b"-", b"").upper()
    if number[:2] not in _PROVINCES or not is_part_of_none(view, start, end):
        return None
    year, month, day = int(number[6:10]), int(number[10:12]), int(number[12:14])
    try:
        born = date(year, month, day)
    except ValueError:
        return None
    if year < 1880 or born > date.today():
        return None
    total = sum(weight * (digit - 48) for weight, digit in zip(_ID_WEIGHTS, number, strict=False))
    return (start, end) if number[17] == _ID_CHECKS[total % 11] else None


def _judge_card(view: View, start: int, end: int) -> Span | None:
    """The card, without what follows it after a space (an expiry date, another number), if that makes it one."""
    if view.byte_at(start - 1) == b" " and view.digit_at(start - 2) and not view.raw[start:end].isdigit():
        return None  # in a row of figures
    while True:
        groups = view.raw[start:end].replace(b"-", b" ").split(b" ")
        if _is_card(view.raw[start:end], groups) and is_part_of_none(view, start, end):
            return None if len(groups) > 1 and _goes_on(view, end) else (start, end)
        if len(groups) == 1:
            return None
        end -= len(groups[-1]) + 1


def _is_card(written: bytes, groups: list[bytes]) -> bool:
    if len(groups) > 1 and (tuple(map(len, groups)) not in _CARD_GROUPS or (b" " in written and b"-" in written)):
        return False
    digits = b"".join(groups)
    return _luhn(digits) and _has_issuer(digits)


def _has_issuer(digits: bytes) -> bool:
    for low, high, lengths in _ISSUERS:
        if low <= int(digits[: len(str(low))]) <= high and len(digits) in lengths:
            return True
    return False


def _luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, annex B."""
    plain = sum(digit - 48 for digit in digits[-1::-2])
    return (plain + sum(_DOUBLED[digit - 48] for digit in digits[-2::-2])) % 10 == 0


def is_part_of_none(view: View, start: int, end: int) -> bool:
    """Whether a number stands by itself: nothing of a word, a decimal, an identifier or a longer number beside it."""
    if view.word_at(start - 1) or view.word_at(end):
        return False
    before, after = view.byte_at(start - 1), view.byte_at(end)
    if before in _JOINS and view.word_at(start - 2):
        return False
    return not (after in _JOINS and view.word_at(end + 1))


_JOINS = {b".", b"-", b"+", b"*"}


def _goes_on(view: View, end: int) -> bool:
    """Whether four digits follow a space: a table of figures, not a card."""
    return view.byte_at(end) == b" " and all(view.digit_at(end + place) for place in (1, 2, 3, 4))
