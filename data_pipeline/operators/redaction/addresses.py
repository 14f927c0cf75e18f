"""Addresses of hosts on the Internet, as text.

Only addresses that the public Internet routes (IANA's special-purpose registries, RFC 6890, by `ipaddress`) say where
somebody is. Private, loopback, link-local, multicast and documentation ranges and masks stay: they name nobody, and
text on networks is full of them. What has the form of an address but is a version or a section stays, too.
"""

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import re2

from data_pipeline.operators.redaction.view import Span, View, numbers, pattern

_IPV4 = pattern(rb"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
# 2000::/3, all of the global unicast space that is given out (RFC 4291, section 2.4), written in its four digits. That
# keeps out times, hardware addresses, fingerprints and the paths of C++ and Rust.
_IPV6 = pattern(rb"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{2,35}")
_HEX_BEFORE = pattern(rb"(?:^|[^0-9A-Za-z])[0-9A-Fa-f]{1,4}:$|::$")
_VERSION_BEFORE = re2.compile(
    r"(?i)(?:(?:^|[^a-z])(?:version|versions|ver|v|release|released|revision|rev|build|firmware|driver|kernel|sdk|patch|upgraded?|"
    r"updated?|section|sections|sec|chapter|clause|article|figure|fig|table|appendix|annex|oid)|§+|版本|版本号|版|固件|"
    r"升级到?|更新到?|章节|章|节|条|第|图|表)[\s:：.=\"'（(]*(?:to|is|为|是|号)?[\s:：\"'（(]*$"
)
_UPGRADE_BEFORE = re2.compile(
    r"(?i)(?:upgrad|updat|bump|patch|downgrad|release|version|build|升级|更新|版本).*"
    r" (?:to|from|and|or|through|-|→|到|至) ?$"
)
_HOST_BEFORE = re2.compile(
    r"(?i)(?:\bip(?:v4)?|addr|address|host|server|ping|ssh|://|地址|主机|服务器)[^0-9A-Za-z]{0,6}(?:is |为|是)?$"
)
_SMALL = 64  # a public address has four octets below this once in 250; versions and sections nearly always


def find(view: View) -> Iterator[Span]:
    """Public addresses: those of IPv4 in order, then those of IPv6."""
    if view.raw.count(b".") >= 3:
        yield from numbers(_IPV4, view, _judge_v4)
    if b":" in view.raw:
        yield from numbers(_IPV6, view, _judge_v6)


def _judge_v4(view: View, start: int, end: int) -> Span | None:
    if _joined(view, start, end):
        return None
    try:
        address = IPv4Address(view.raw[start:end].decode())
    except AddressValueError:
        return None
    if not address.is_global or address.is_multicast:
        return None
    octets = address.packed
    before = view.before(start, 80)
    if _VERSION_BEFORE.search(before[-24:]) or (octets[0] < _SMALL and _UPGRADE_BEFORE.search(before)):
        return None
    if (max(octets) < _SMALL or octets[1] == octets[2] == 0) and not _HOST_BEFORE.search(before):
        return None
    return start, end


def _joined(view: View, start: int, end: int) -> bool:
    """Whether this is a piece of a longer token: 1.2.3.4.5, v1.2.3.4, name-1.2.3.4, Chrome/1.2.3.4, >=1.2.3.4-rc1."""
    before, after = view.byte_at(start - 1), view.byte_at(end)
    if view.word_at(start - 1) or view.word_at(end) or before == b".":
        return True
    if before in (b"-", b"/", b"+", b"~", b"^") and view.word_at(start - 2) and not view.digit_at(start - 2):
        return True
    if before in (b"~", b"^", b"<") or (before == b"=" and view.byte_at(start - 2) in (b"=", b"~", b"<", b">", b"!")):
        return view.byte_at(end) != b">"  # <1.2.3.4> is an address in brackets
    if after == b".":
        return view.word_at(end + 1) and view.digit_at(end + 1)
    return after in (b"-", b"+", b"~") and view.word_at(end + 1) and not view.digit_at(end + 1)


def _judge_v6(view: View, start: int, end: int) -> Span | None:
    before = view.byte_at(start - 1)
    if view.word_at(start - 1) or view.word_at(end) or before == b"." or _HEX_BEFORE.search(view.raw[:start][-6:]):
        return None
    if view.byte_at(end) == b"." and view.digit_at(end + 1):
        return None
    written = view.raw[start:end].decode()
    if written.endswith(":") and not written.endswith("::"):
        written = written[:-1]
    try:
        address = IPv6Address(written)
    except AddressValueError:
        return None
    # x[2048::64] is a slice.
    return (start, start + len(written)) if address.is_global and written.partition("::")[0].count(":") else None
