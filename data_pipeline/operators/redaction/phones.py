"""Telephone numbers: found by how they are written, then held against the numbering plans in `phonenumbers`.

A number is taken by its writing alone where that is telling: a + and a country (ITU-T E.164), a Chinese mobile number,
an area code set off from the rest. Bare digits that fit a numbering plan are taken only behind a word for a telephone:
every second ten-digit number would fit one.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

import re2

from data_pipeline.operators.redaction.view import OTHER, Span, View, numbers, pattern

_SHAPES = (
    # +country, at most 15 digits in groups. (0) is the trunk digit some write. (+49) 30 …
    rb"(?:\+[1-9][0-9]{0,2}|\(\+[1-9][0-9]{0,2}\))(?:[ .\-/]?\([0-9]{1,5}\))?(?:[ .\-/]?[0-9]{1,14}){1,7}",
    # 00 and the country, then groups; Chinese mobile numbers without, too.
    rb"00[1-9][0-9]{0,2}[ \-](?:\(0\) ?)?[0-9]{1,12}(?:[ \-][0-9]{1,12}){0,6}",
    # Mainland China, mobile: eleven digits from 1[3-9], also 3-4-4, 4-3-4 and 3-8; 86 may go before.
    rb"(?:(?:(?:00)?86|\((?:00)?86\))[ \-]?)?1[3-9]"
    rb"(?:[0-9]{9}|[0-9][ \-][0-9]{4}[ \-]?[0-9]{4}|[0-9]{2}[ \-][0-9]{3}[ \-][0-9]{4})",
    # North America: area and exchange begin with 2 to 9.
    rb"(?:1[ .\-]?)?\([2-9][0-9]{2}\)[ .\-]?[2-9][0-9]{2}[ .\-][0-9]{4}",
    rb"(?:1-)?[2-9][0-9]{2}-[2-9][0-9]{2}-[0-9]{4}",
    rb"(?:1\.)?[2-9][0-9]{2}\.[2-9][0-9]{2}\.[0-9]{4}",
    rb"(?:1 )?[2-9][0-9]{2} [2-9][0-9]{2} [0-9]{4}",
    rb"(?:1[ \-])?[2-9][0-9]{2}[/ \-][2-9][0-9]{2}-[0-9]{4}",
    # 0, area, subscriber: most of the world.
    rb"\(0[1-9][0-9]{0,4}\)[ \-]?[0-9]{2,8}(?:[ \-][0-9]{1,8}){0,3}",
    rb"0[1-9](?:[ .\-][0-9]{2}){4}",
    rb"0[1-9][0-9]{0,5}[ \-/(][0-9]{1,8}(?:[ \-)][0-9]{1,8}){0,4}",
    # India, mobile, as it is spaced there.
    rb"[6-9][0-9]{4} [0-9]{5}",
    # Digits that need a word before them.
    rb"[0-9]{7,13}",
    rb"[2-8][0-9]{2,3}-[0-9]{4}",
)
_CANDIDATE = pattern(b"|".join(b"(?:" + shape + b")" for shape in _SHAPES), longest=True)
_NANP = pattern(rb"(?:\+?1[ .\-]?)?\(?[2-9][0-9]{2}[)/ .\-]{1,2}[2-9][0-9]{2}[ .\-][0-9]{4}")
_MOBILE_CN = pattern(rb"(?:(?:(?:00)?86|\((?:00)?86\))[ \-]?)?1[3-9][0-9 \-]{9,11}")
_INDIAN = pattern(rb"0?[6-9][0-9]{4} [0-9]{5}")
_AREA = pattern(rb"\(?(0[1-9][0-9]{0,5})[) \-/(.]")
_LAST_GROUP = pattern(rb"[0-9]*$")
_PAIRS = pattern(rb"0[1-9](?:[ .\-][0-9]{2}){4}")
_EXTENSION = re2.compile(
    r"(?i)^(?:[-－][0-9０-９]{1,5}|,? ?(?:x|ext\.?|extension|durchwahl|poste|转|轉|内線) ?[0-9０-９]{1,5})"
)
# What may stand between the word for a telephone and its number.
_FILLER = (
    r"(?:number|numbers|no\.?|nr\.?|num|nummer|me|us|him|her|at|on|is|are|号码|号|番号|是|为|：|"
    r"[\s:=\"'#（(\[_|>*.\-])*$"
)
_PHONE_BEFORE = re2.compile(
    r"(?i)(?:(?:^|[^a-z])(?:tel|telephone|telefon|telefax|phone|phones|ph|mob|mobile|mobil|cell|cellphone|fax|whatsapp|"
    r"sms|hotline|landline|handy|rufnummer|téléphone|tél|portable|appelez|appeler|call|text|dial)|"
    r"电话|電話|手机|手機|携帯|热线|熱線|传真|傳真|座机|联系方式|致电|拨打|联系电话)" + _FILLER
)
_CHINESE_BEFORE = re2.compile(r"(?:电话|手机|热线|传真|座机|联系方式|致电|拨打)" + _FILLER)
_UNITS = frozenset("元万萬亿億年円圆股人次")  # a sum, not a number to call
_REGIONS = ("CN", "US", "GB", "DE", "FR", "IN", "JP")
_TRUNK_REGIONS = ("CN", "GB", "DE", "FR", "JP", "IN", "AU", "KR", "TW")
_FRENCH = ("FR", "RE", "GP", "MQ", "GF")  # overseas, the same form but countries of their own in E.164
_MIN_DIGITS, _MAX_DIGITS = 7, 15


def find(view: View) -> Iterator[Span]:
    """Telephone numbers, in order, extensions included."""
    return numbers(_CANDIDATE, view, _judge)


def _judge(view: View, start: int, end: int) -> Span | None:
    """The number, without what follows it after a space, a slash or a dash if that makes it one."""
    announced = None
    while True:
        raw = view.raw[start:end]
        count = _count_digits(raw)
        if count < _MIN_DIGITS:
            return None
        if announced is None:
            announced = _PHONE_BEFORE.search(view.before(start, 32)) is not None
        if count <= _MAX_DIGITS and _stands_alone(view, start, end, announced):
            if _is_number(view, start, end, announced):
                return start, _with_extension(view, end)
        cut = max(raw.rfind(b" "), raw.rfind(b"/"), raw.rfind(b"-"))
        if cut <= 0:
            return None
        end = start + cut


def _stands_alone(view: View, start: int, end: int, announced: bool) -> bool:
    """Whether nothing beside the digits makes them a piece of a word, a path, a formula, a sum or a longer number."""
    if (view.word_at(start - 1) or view.word_at(end)) and not _between_words(view, start, end):
        return False
    before, after = view.byte_at(start - 1), view.byte_at(end)
    if before in (b"$", b"+") or after in (b"$", b"=") or view.text[end : end + 1] in _UNITS:
        return False
    if after in (b".", b"-", b"+", b"*") and view.digit_at(end + 1) and _EXTENSION.match(view.text[end:]) is None:
        return False
    if after in (b"-", b"/", b"+") and view.word_at(end + 1) and not view.digit_at(end + 1):
        return False
    if before in (b".", b"-", b"+", b"*") and view.digit_at(start - 2):
        return False
    return announced or not (before in (b"-", b"/", b"+") and view.word_at(start - 2) and not view.digit_at(start - 2))


def _between_words(view: View, start: int, end: int) -> bool:
    """Whether Latin letters stand on one side and Chinese on the other, as in 微信13812345678QQ群 and in no digest."""
    before, after = view.raw[start - 1] if start else 0, view.raw[end] if end < len(view.raw) else 0
    return (before == OTHER and chr(after).isalpha()) or (after == OTHER and chr(before).isalpha())


def _is_number(view: View, start: int, end: int, announced: bool) -> bool:
    raw = view.raw[start:end]
    digits = _digits(raw)
    if digits.endswith(b"000000") or len(set(digits)) == 1:  # round figures, fillers
        return False
    if not announced and _is_argument(view, start):
        return False
    if raw[:1] == b"+" or raw[:2] == b"(+":
        return _is_international(raw.decode(), announced)
    if raw[:2] == b"00":
        return _is_international("+" + raw[2:].decode(), announced)
    if not announced and b" " in raw and raw[:1] != b"(" and _in_row(view, start, end):
        return False
    national = digits.removeprefix(b"00").removeprefix(b"86")
    if _MOBILE_CN.fullmatch(raw) and len(national) == 11 and _fits(national, "CN"):
        return True
    if _NANP.fullmatch(raw) and (b" " not in raw or b"-" in raw or _fits(digits, "US")):
        return True
    if _INDIAN.fullmatch(raw) and _fits(digits, "IN"):
        return True
    if raw[:1] in (b"0", b"(") and _has_area(raw):
        return True
    return announced and _is_announced(view, start, digits)


def _is_international(written: str, announced: bool) -> bool:
    phonenumbers = _library()
    number = _parsed(written, None)
    if number is None:
        return False
    if written.count(".") == 1 and not announced and (number.country_code or 0) < 10:
        return False  # a decimal: +1.2345678901
    if phonenumbers.is_valid_number(number):
        return True
    # Fictional and new numbers, where the writing tells: +1 555 234 5678.
    grouped = sum(written.count(sign) for sign in " -") >= 2
    return grouped and phonenumbers.is_possible_number(number) and (number.national_number or 0) >= 10**7


def _has_area(raw: bytes) -> bool:
    """Whether a written area code is one of a country whose plan the rest fits."""
    if _PAIRS.fullmatch(raw):
        return any(_fits(_digits(raw), region) for region in _FRENCH) and not _counts_up(raw)
    area = _AREA.match(raw)
    if area is None or b"." in raw or not 9 <= _count_digits(raw) <= 12:
        return False
    digits, last = _digits(raw), len(_LAST_GROUP.search(raw).group())
    phonenumbers = _library()
    for region in _TRUNK_REGIONS:
        number = _parsed(digits.decode(), region)
        if number is None or not phonenumbers.is_valid_number(number):
            continue
        written, code = len(area.group(1)) - 1, phonenumbers.length_of_national_destination_code(number)
        if region == "FR" or (written == 1 and last != 4):  # dates begin so: 01-02-2024 10
            continue
        if written == code or (region == "GB" and written == code + 1) or (region == "IN" and written == 5):
            return True
    return False


def _is_announced(view: View, start: int, digits: bytes) -> bool:
    """Whether digits behind a word for a telephone fit a plan: Tel: 02079460958, 电话 62345678."""
    if _CHINESE_BEFORE.search(view.before(start, 32)) and len(digits) in (7, 8):
        return b"2" <= digits[:1] <= b"8" and digits[:4] not in (b"2019", b"2020", b"2021", b"2022", b"2023", b"2024")
    return len(digits) >= 9 and any(_fits(digits, region) for region in _REGIONS)


def _counts_up(raw: bytes) -> bool:
    """01 02 03 04 05 are days or chapters."""
    pairs = [int(raw[place : place + 2]) for place in range(0, 14, 3)]
    return all(after - before == pairs[1] - pairs[0] for before, after in pairwise(pairs))


def _in_row(view: View, start: int, end: int) -> bool:
    """Whether figures go on with a space before or after: a table."""
    return (view.byte_at(start - 1) == b" " and view.digit_at(start - 2)) or (
        view.byte_at(end) == b" " and view.digit_at(end + 1)
    )


def _is_argument(view: View, start: int) -> bool:
    """Whether this stands as a value in code: x=…, f(…)."""
    before = view.byte_at(start - 1)
    return before == b"=" or (before == b"(" and view.word_at(start - 2))


def _with_extension(view: View, end: int) -> int:
    extension = _EXTENSION.match(view.text[end : end + 16])
    if extension is None or view.word_at(end + extension.end()):
        return end
    return end + extension.end()


def _digits(raw: bytes) -> bytes:
    return raw.translate(None, b" ()+-./")


def _count_digits(raw: bytes) -> int:
    return len(_digits(raw))


def _fits(digits: bytes, region: str) -> bool:
    number = _parsed(digits.decode(), region)
    return number is not None and _library().is_valid_number(number)


def _parsed(written: str, region: str | None) -> Any:
    try:
        return _library().parse(written, region)
    except _library().NumberParseException:
        return None


@cache
def _library() -> ModuleType:
    import phonenumbers  # 50 ms and the numbering plans: not for every command

    return phonenumbers
