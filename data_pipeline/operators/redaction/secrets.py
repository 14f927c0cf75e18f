"""Keys and tokens by the marks their issuers give them, and what is assigned to a name such as `password`.

Formats: the issuers' documentation, as collected in the rules of gitleaks (https://github.com/gitleaks/gitleaks,
MIT). A value without such a mark is a secret only where a name says so and it looks random enough: digests, commits
and UUIDs are as random, and none of anybody's business.
"""

import math
from collections import Counter
from collections.abc import Iterator

from data_pipeline.operators.redaction.view import Span, View, pattern

_MARKED = pattern(
    b"|".join(
        [
            rb"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",  # AWS access key id
            rb"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
            rb"github_pat_[A-Za-z0-9_]{36,255}",
            rb"glpat-[A-Za-z0-9_\-]{20,64}",  # GitLab
            rb"xox[abeoprs]-[A-Za-z0-9\-]{10,250}",  # Slack
            rb"xapp-[0-9]-[A-Za-z0-9\-]{20,250}",
            rb"T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{24}",  # the end of a Slack webhook's address
            rb"AIza[A-Za-z0-9_\-]{35}",  # Google
            rb"GOCSPX-[A-Za-z0-9_\-]{28}",
            rb"ya29\.[A-Za-z0-9_\-]{30,500}",
            rb"sk-(?:(?:proj|svcacct|admin|ant|or|lf)-[A-Za-z0-9_\-]{20,200}|[A-Za-z0-9]{32,64})",  # OpenAI and others
            rb"hf_[A-Za-z0-9]{30,40}",  # Hugging Face
            rb"gsk_[A-Za-z0-9]{40,60}",  # Groq
            rb"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,247}",  # Stripe
            rb"npm_[A-Za-z0-9]{36}",
            rb"pypi-AgE[A-Za-z0-9_\-]{50,500}",
            rb"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}",  # SendGrid
            rb"[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}",  # Telegram
            rb"LTAI[A-Za-z0-9]{12,24}",  # Alibaba Cloud
            rb"AKID[A-Za-z0-9]{32}",  # Tencent Cloud
            rb"dop_v1_[a-f0-9]{64}",  # DigitalOcean
            rb"eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",  # JSON web token, RFC 7519
        ]
    )
)

_PEM_BEGIN = pattern(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = pattern(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINES = pattern(rb"(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{16,})*")
_MAX_PEM = 20_000

_AUTHORITY = pattern(rb"://[^\s:/@\"'<>]{0,64}:([^\s:/@\"'<>]{3,100})@[A-Za-z0-9\[\xe1]")
_HEADER = pattern(rb"(?i:bearer|authorization[\"']?[:=] {0,2}[\"']?basic) +([A-Za-z0-9_\-.=+/~]{16,})")

_NAME = (
    rb"(?i:(pass(?:word|wd|phrase|code)|pwd|(?:\b|_)pass)|secret|token|credentials?|"
    rb"(?:api|app|access|secret|private|auth|encryption|signing|account|storage|shared|master|client|deploy|service)"
    rb"[_\-. ]?key(?:[_\-]?id)?)[0-9]?"
)
_ASSIGNED = pattern(
    _NAME
    + rb"(?:\\?[\"']|\])*[ \t]{0,8}(?::[ \t]*[A-Za-z]{1,12}[ \t]+=[ \t]|=>|:=|::|[:=])[ \t]{0,8}"
    + rb"(?:\\?\"([^\"\\\s]{6,400})\\?\"|'([^'\\\s]{6,400})'|"
    + rb"([^\s\"'`,;<>(){}\[\]|&\\\x80-\xff]{8,400}))"
)
_PASSWORD, _DOUBLE, _SINGLE, _BARE = 1, 2, 3, 4  # groups of _ASSIGNED
_CHINESE_NAMES = ("密码", "口令", "密钥", "密碼", "密鑰")
_CHINESE_ASSIGNED = pattern(rb"\xff{0,2}[ \t]*[:=]?[ \t]*[\"'`]?([!#-&*+\-.-~]{6,100})")

# What stands where a secret would: variables, formats, and words that ask for one.
_STAND_IN = pattern(
    rb"(?i)^[$%{<*#&@!/.~\\]|^https?:|^file:|^x{3}|[*x.]{4}|[{<(\[]|%[sd(]|[}>)\]]$|"
    rb"^(?:your|my|the|some|an?|any|enter|insert|change|replace|example|dummy|"
    rb"fake|sample|placeholder|todo|none|null|nil|undefined|true|false|default)(?:[ _\-.]|$)|"
    rb"your[_\-]|_here$|changeme|example|placeholder|redacted|"
    rb"\.(?:json|ya?ml|pem|txt|py|js|ts|go|rs|key|crt|html|php|env|com|org|net|md)$"
)
# Words and their compounds, as names are written: some_name, some-name2, someName, SOME_NAME, path/to.name.
_WORD = rb"(?:(?:[A-Z]{0,4}[a-z]{2,})+|[A-Z]+|[A-Za-z]{1,3})?"
_WORDS = pattern(_WORD + rb"[0-9]{0,2}(?:[_\-./:]" + _WORD + rb"[0-9]{0,3})*")
_PATH = pattern(rb"[A-Za-z_][A-Za-z0-9_]*(?:(?:\.|->|::)[A-Za-z_][A-Za-z0-9_]*)+")
_FIGURES = pattern(rb"[0-9.,:\-/+]+")
_TRIVIAL = {b"pass", b"password", b"passwd", b"pwd", b"secret", b"token", b"pw"}
_MIN_BITS = 2.5  # Shannon's entropy of a character; eight different ones have 3.0, a word about 2.8 and no digit


def find(view: View) -> Iterator[Span]:
    """Secrets, in order; of an assignment only the value."""
    spans = [*_keys(view), *_pems(view), *_assigned(view)]
    if b"://" in view.raw:
        spans += [match.span(1) for match in _AUTHORITY.finditer(view.raw) if not _stands_in(match.group(1))]
    end = 0
    for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= end:
            yield start, stop
            end = stop


def _keys(view: View) -> Iterator[Span]:
    for match in _MARKED.finditer(view.raw):
        start, end = match.span()
        if not view.word_at(start - 1) and not view.word_at(end) and _bits(match.group()) >= _MIN_BITS:
            yield start, end


def _pems(view: View) -> Iterator[Span]:
    raw = view.raw
    if b"PRIVATE KEY" not in raw:
        return
    for begin in _PEM_BEGIN.finditer(raw):
        body = begin.end()
        end = _PEM_END.search(raw, body, min(len(raw), body + _MAX_PEM))
        lines = _PEM_LINES.match(raw, body)
        if end is not None and end.start() - body >= 40:
            yield begin.start(), end.end()
        elif lines is not None and lines.end() - body >= 64:  # cut off
            yield begin.start(), lines.end()


def _assigned(view: View) -> Iterator[Span]:
    for match in _ASSIGNED.finditer(view.raw):
        group = next(group for group in (_DOUBLE, _SINGLE, _BARE) if match.start(group) >= 0)
        start, end = match.span(group)
        if group == _BARE:
            end -= len(match.group(group)) - len(match.group(group).rstrip(b".!?:*"))
        if _is_value(view.raw[start:end], match.start(_PASSWORD) >= 0, group != _BARE, view.byte_at(end)):
            yield start, end
    for match in _HEADER.finditer(view.raw):
        if _is_random(match.group(1), _MIN_BITS) and not _stands_in(match.group(1)):
            yield match.span(1)
    for name in _CHINESE_NAMES:
        at = view.text.find(name)
        while at >= 0:
            match = _CHINESE_ASSIGNED.match(view.raw, at + len(name))
            if match is not None and _is_value(match.group(1).rstrip(b".!?"), True, False, b""):
                yield match.start(1), match.start(1) + len(match.group(1).rstrip(b".!?"))
            at = view.text.find(name, at + 1)


def _is_value(value: bytes, is_password: bool, quoted: bool, after: bytes) -> bool:
    """Whether what was assigned is a secret, rather than an expression, a name, a path or a stand-in."""
    if len(value) < 6 or _stands_in(value):
        return False
    if not quoted and (after in (b"(", b"[") or _PATH.fullmatch(value)):
        return False
    if _FIGURES.fullmatch(value):
        return is_password and quoted and value.isdigit() and len(set(value)) > 1
    words = _WORDS.fullmatch(value) is not None
    if words and not (is_password and quoted and value.isalnum() and not value.isalpha()):
        return False
    return _is_random(value, _MIN_BITS if is_password or len(value) < 20 else 3.0)


def _stands_in(value: bytes) -> bool:
    return value.lower() in _TRIVIAL or _STAND_IN.search(value) is not None


def _is_random(value: bytes, bits: float) -> bool:
    """Whether a value mixes letters with digits or signs, at so many bits a character."""
    has_letter = any(65 <= byte <= 90 or 97 <= byte <= 122 for byte in value)
    return has_letter and not value.isalpha() and _bits(value) >= bits


def _bits(value: bytes) -> float:
    """Shannon's entropy of a character, by the frequencies in the value itself."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)
