"""E-mail addresses: the dot-atom of RFC 5322, letters of RFC 6531, and a top domain that exists."""

from collections.abc import Iterator

from data_pipeline.operators.redaction.view import Span, View, pattern

# RFC 5321 and 5322 allow more signs in a local part than anybody uses.
_LOCAL = pattern(rb"[A-Za-z0-9_\xe1](?:[A-Za-z0-9._%+\-\xe1]*[A-Za-z0-9_+\-\xe1])?$")
_HOST = pattern(rb"(?:[A-Za-z0-9\xe1](?:[A-Za-z0-9\-\xe1]{0,61}[A-Za-z0-9\xe1])?\.)+[A-Za-z]{2,24}")
# The top domain ends where its case does, since text without spaces may go on right behind it: name@host.comQQ.
_TOP = pattern(rb"[A-Za-z]?[a-z]+|[A-Z]+")
_AUTHORITY = pattern(rb"//[^\s/@<>\"']*$")  # https://user@host names an account of a service, not a mailbox
_MAX_LOCAL, _MAX_HOST = 64, 255  # RFC 5321, section 4.5.3.1

_REMOTE_USERS = {b"git", b"hg", b"svn"}
# ISO 3166 top domains.
_COUNTRIES = frozenset(
    b"""ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc
    cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb
    gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke
    kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu
    mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw
    sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua
    ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw""".split()
)
# The others that mailboxes stand under, and the reserved ones of RFC 2606; not those that read as methods or files.
_GENERIC = frozenset(
    b"""com org net edu gov mil int info biz name pro mobi asia cat coop aero jobs museum tel travel post arpa local
    example invalid test xyz online site shop store club vip wang top app dev cloud tech live email mail website space
    life world today news blog agency academy center company consulting digital design email expert finance foundation
    global group health help host institute international legal love ltd marketing media network partners photography
    press school science services social software solutions studio support systems team university ventures work works
    berlin hamburg koeln london paris tokyo nyc wien bayern swiss scot wales""".split()
)
_FILES = {b"md", b"py", b"rs", b"sh"}


def find(view: View) -> Iterator[Span]:
    """Addresses, in order."""
    at = view.raw.find(b"@")
    end = 0
    while at >= 0:
        span = _around(view, at)
        if span is not None and span[0] >= end:
            yield span
            end = span[1]
        at = view.raw.find(b"@", max(at + 1, end))


def _around(view: View, at: int) -> Span | None:
    """The address whose @ stands there, if it is one."""
    raw = view.raw
    host = _HOST.match(raw, at + 1, min(len(raw), at + 1 + _MAX_HOST))
    if host is None:
        return None
    window = raw[max(0, at - _MAX_LOCAL - 1) : at]
    local = _LOCAL.search(window)
    if local is None or len(local.group()) > _MAX_LOCAL or b".." in local.group():
        return None
    start, end = at - len(local.group()), _host_end(raw, at + 1, host.end())
    if end is None or raw[end : end + 1] == b"(":  # product@matrix.to(device)
        return None
    if local.group().lower() in _REMOTE_USERS and raw[end : end + 1] in (b":", b"/"):
        return None
    return None if _AUTHORITY.search(raw[max(0, start - 80) : at]) else (start, end)


def _host_end(raw: bytes, start: int, end: int) -> int | None:
    """The end of the longest part of a host that has a known top domain: `host.com.Then` ends at `com`."""
    while True:
        labels = raw[start:end].rpartition(b".")
        if not labels[1]:
            return None
        top = _TOP.match(labels[2])
        if top is not None and _is_top(top.group(), labels[0]):
            return end - len(labels[2]) + top.end()
        end -= len(labels[2]) + 1


def _is_top(label: bytes, rest: bytes) -> bool:
    label = label.lower()
    if label in _FILES and b"." not in rest:
        return False
    return label in _COUNTRIES or label in _GENERIC
